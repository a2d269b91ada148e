/** What answered is not ECS, or not as it is documented: an answer without what it is about, too long, or no JSON. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError';
}
