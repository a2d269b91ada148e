// prom-client's index loads its cluster support and OpenTelemetry as well: 2 MB of memory for nothing we use. These
// modules are all that writing a page takes; the version is pinned, and the test of /metrics notices a move.
declare module 'prom-client/lib/registry.js' {
  import { Registry } from 'prom-client';
  export default Registry;
}
declare module 'prom-client/lib/gauge.js' {
  import { Gauge } from 'prom-client';
  export default Gauge;
}
declare module 'prom-client/lib/counter.js' {
  import { Counter } from 'prom-client';
  export default Counter;
}
