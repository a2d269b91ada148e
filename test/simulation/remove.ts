/**
 * Takes an element out of a short list, whose order stays. A set would make a hash for each element, which costs more than
 * all else that most of them are for. @returns whether it was there
 */
export function remove<T>(list: T[], element: T): boolean {
  const index = list.indexOf(element);
  if (index < 0) return false;
  for (let at = index + 1; at < list.length; at += 1) list[at - 1] = list[at] as T;
  list.pop();
  return true;
}
