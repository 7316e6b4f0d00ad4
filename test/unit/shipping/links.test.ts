import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '../../..')
const pages = ['README.md', 'CHANGELOG.md', ...globSync('docs/*.md', { cwd: root })]

/** The anchors that a page's headings make. */
function anchors(page: string): string[] {
  const headings = readFileSync(resolve(root, page), 'utf8').match(/^#+ .+$/gm) ?? []
  return headings.map(heading =>
    heading
      .replace(/^#+ /, '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

for (const page of pages) {
  test(`every link of ${page} leads somewhere`, () => {
    const links = [...readFileSync(resolve(root, page), 'utf8').matchAll(/\]\(([^)\s]+)\)/g)].map(m => m[1]!)
    for (const link of links.filter(l => !/^https?:/.test(l))) {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : join(dirname(page), path)
      assert.ok(existsSync(resolve(root, target)), link)
      if (anchor !== undefined) assert.ok(anchors(target).includes(anchor), link)
    }
  })
}
