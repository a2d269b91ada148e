/** What a simulated AWS service refuses a request with. */
export class AwsError extends Error {
  override readonly name = 'AwsError';
  /** Such as `ClusterNotFoundException`. */
  readonly code: string;
  /** Of HTTP: 400, or 500 where the service is to blame. */
  readonly status: number;
  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export function invalidParameter(message: string): AwsError {
  return new AwsError('InvalidParameterException', message);
}
