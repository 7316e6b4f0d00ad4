import type { DrillReport } from './report.ts'

export interface DrillPlan {
  when: 'never' | 'monthly'
  /** Hour of the day, 0 to 23, in the machine's own time zone. */
  hour: number
}

/**
 * Whether the calendar wants a drill now: within its hour, in a month in which none was done. One that had to be skipped is tried
 * again the next day. Pure.
 */
export function isDue(plan: DrillPlan, now: Date, reports: readonly Pick<DrillReport, 'began' | 'result'>[]): boolean {
  if (plan.when === 'never' || now.getHours() !== plan.hour) return false
  return !reports.some(({ began, result }) => {
    const at = new Date(began)
    if (result === 'skipped') return sameMonth(at, now) && at.getDate() === now.getDate()
    return sameMonth(at, now)
  })
}

/** The hour at which the next one can be, for people; undefined when there is none. Pure. */
export function nextDue(plan: DrillPlan, now: Date, reports: readonly Pick<DrillReport, 'began' | 'result'>[]) {
  if (plan.when === 'never') return undefined
  const at = new Date(now.getFullYear(), now.getMonth(), now.getDate(), plan.hour)
  // A month has at most 31 days, and the first of the next one is free for sure.
  for (let day = 0; day < 33; day++, at.setDate(at.getDate() + 1)) {
    if (at.getTime() + 3_600_000 > now.getTime() && isDue(plan, at, reports)) return at
  }
  return undefined
}

function sameMonth(one: Date, other: Date): boolean {
  return one.getMonth() === other.getMonth() && one.getFullYear() === other.getFullYear()
}
