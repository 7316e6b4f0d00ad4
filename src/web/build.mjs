// Builds the web phone into dist/web: npm run build:web, or the server by itself when the sources are newer.
// It builds beside the old files and puts them in place at the end, so that a page is never half of each.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { ensureInstalled } from '../cli/install.mjs'
import { drawIcon } from './icon.mjs'
import { hashOfSources, isBuilt, mark, sources, target } from './sources.mjs'

const manifest = {
  name: 'Vaartha',
  short_name: 'Vaartha',
  description: 'Calls and meetings in your own network',
  start_url: '/',
  scope: '/',
  display: 'standalone',
  background_color: '#f6f6f8',
  theme_color: '#0b57a4',
  icons: [192, 512].flatMap(size =>
    ['any', 'maskable'].map(purpose => ({
      src: `/icon-${size}.png`,
      sizes: `${size}x${size}`,
      type: 'image/png',
      purpose,
    })),
  ),
}

const root = resolve(sources, '../..')
if (!existsSync(join(root, 'node_modules/vite'))) await ensureInstalled(root, { development: false })
const fresh = `${target}.${process.pid}`
if (!isBuilt() || process.argv.includes('--force')) {
  try {
    await build()
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

async function build() {
  const hash = hashOfSources()
  const { build: bundle } = await import('vite')
  await bundle({
    configFile: false,
    root: sources,
    logLevel: 'warn',
    clearScreen: false,
    esbuild: { jsx: 'automatic', legalComments: 'eof' },
    plugins: [{ name: 'vaartha-shell', generateBundle: (_options, files) => fillShell(files, hash) }],
    build: {
      outDir: fresh,
      emptyOutDir: true,
      assetsDir: 'web',
      target: ['es2022', 'chrome100', 'firefox100', 'safari15.4'],
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 1500,
      rollupOptions: {
        input: { index: join(sources, 'index.html'), sw: join(sources, 'worker/sw.ts') },
        output: { entryFileNames: chunk => (chunk.name === 'sw' ? 'sw.js' : 'web/[name]-[hash].js') },
      },
    },
  })
  writeFileSync(join(fresh, 'manifest.webmanifest'), JSON.stringify(manifest))
  for (const size of [192, 512]) writeFileSync(join(fresh, `icon-${size}.png`), drawIcon(size))
  writeFileSync(join(fresh, mark), hash)
  mkdirSync(dirname(target), { recursive: true })
  const old = `${fresh}.old`
  try {
    renameSync(target, old)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  try {
    renameSync(fresh, target)
  } catch (error) {
    // Another build was quicker by a hair; its files are as good.
    if (!['ENOTEMPTY', 'EEXIST'].includes(error.code) || !isBuilt()) throw error
  }
  // What an interrupted build left goes too.
  for (const name of readdirSync(dirname(target)))
    if (/^web\.\d+\.old$/.test(name)) rmSync(join(dirname(target), name), { recursive: true, force: true })
}

/** The service worker holds what the shell consists of, so that the phone opens without a network. */
function fillShell(files, hash) {
  const names = Object.keys(files).filter(name => name !== 'sw.js' && name !== 'index.html')
  const shell = ['/', '/manifest.webmanifest', '/icon-192.png', ...names.map(name => `/${name}`)]
  const worker = files['sw.js']
  worker.code = worker.code.replace('"%SHELL%"', JSON.stringify(shell)).replace('%VERSION%', hash.slice(0, 16))
}
