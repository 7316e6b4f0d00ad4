import type { Loaded } from '../config/load.ts'

/** What each command gets: the configuration, read when the command runs and not before. */
export type Load = () => Loaded
