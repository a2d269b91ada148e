/** Highest number of nodes: each takes two ports, and the addresses stay within 10.113.0.0/16. */
export const MAX_NODES = 1_000;

/** Highest number of clusters; each has nodes if there are as many. */
export const MAX_CLUSTERS = 20;
