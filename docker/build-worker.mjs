// Builds the media worker for the image, to the path that it is given, and installs Debian's packages for that first.
import { copyFileSync } from 'node:fs'
import { makeWorker } from '../src/media/worker/make.ts'
import { mediasoupPackage } from '../src/media/worker/places.ts'

let last = ''
const { binary } = await makeWorker({
  cache: '/tmp/media-worker',
  source: mediasoupPackage(),
  env: process.env,
  jobs: 0,
  gentle: false,
  pollMs: 1000,
  signal: new AbortController().signal,
  onStep(step, progress = 0) {
    const line = `${step} (${Math.floor(progress * 10)}0 %)\n`
    if (line !== last) process.stdout.write(line)
    last = line
  },
})
copyFileSync(binary, process.argv[2])
