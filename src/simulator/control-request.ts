export interface ControlRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly body: string;
}
