import { Gauge, type Registry } from 'prom-client'

/** Makes gauges that are read from one view when somebody asks; without one they show nothing. */
export function gaugesOf<View>(registry: Registry, prefix: string, view: () => View | undefined) {
  return (name: string, help: string, read: (now: View) => number): Gauge =>
    new Gauge({
      name: `${prefix}_${name}`,
      help,
      registers: [registry],
      collect() {
        const now = view()
        if (now !== undefined) this.set(read(now))
      },
    })
}
