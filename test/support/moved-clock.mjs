// Loaded into a server before its own code: its calendar begins at CLOCK_STARTS_AT, and what it does every ten minutes it does at
// each SIGUSR2 too. Everything else of it runs as ever.

const tenMinutes = 600_000
const Real = Date
const ahead = Real.parse(process.env.CLOCK_STARTS_AT ?? '') - Real.now()
if (Number.isNaN(ahead)) throw new Error('CLOCK_STARTS_AT is not a time')

globalThis.Date = class extends Real {
  constructor(...args) {
    if (args.length === 0) super(Real.now() + ahead)
    else super(...args)
  }
  static now() {
    return Real.now() + ahead
  }
}

const every = globalThis.setInterval
const works = new Set()
globalThis.setInterval = (work, ms, ...args) => {
  if (ms === tenMinutes) works.add(() => work(...args))
  return every(work, ms, ...args)
}
process.on('SIGUSR2', () => {
  for (const work of works) work()
})
