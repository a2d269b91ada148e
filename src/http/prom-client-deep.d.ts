// prom-client's index also loads cluster support and OpenTelemetry, 2 MB of memory that rollcall does not use. So only
// these modules are imported. The version is pinned, and the test of /metrics fails if the modules move.
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
