/** Resident memory of this process, in bytes, shared pages of the runtime included. */
export const residentBytes = (): number => process.memoryUsage.rss();
