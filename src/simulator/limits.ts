/** Maximum number of nodes: each uses two ports, and the addresses stay in 10.113.0.0/16. */
export const MAX_NODES = 1_000;

/** Maximum number of clusters. */
export const MAX_CLUSTERS = 20;
