import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { Pieces } from '../../src/http/reply.ts';
import { createRollLists } from '../../src/http/roll-lists.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

function entry(n: number, labels = {}): RollEntry {
  return { record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), labels }), presence: null };
}

const fleet = (count: number) => Array.from({ length: count }, (_, n) => entry(2 * n));

function setUp() {
  const lists = createRollLists();
  let [made, selections, pieces] = [0, 0, 0];
  const text = async (entries: readonly RollEntry[], key = '', keep = (_: RollEntry) => true) => {
    [made, selections] = [0, 0];
    const select = () => {
      selections += 1;
      return { entries, notes: [] };
    };
    const { body, gzip } = await lists
      .list(entries, key, select, (each) => {
        made += 1;
        return keep(each) ? [each.record.ec2InstanceId, each.record.labels] : null;
      })
      .body('[', ']');
    const plainPieces = await all(body as Pieces);
    const plain = Buffer.concat(plainPieces).toString();
    // Head, tail, and a comma between two.
    pieces = (plainPieces.length - 1) / 2;
    if (gzip) assert.equal(gunzipSync(Buffer.concat(await all(gzip()))).toString(), plain);
    const shown = entries.filter(keep).map(({ record }) => [record.ec2InstanceId, record.labels]);
    assert.deepEqual(JSON.parse(plain), shown);
    return plain;
  };
  return { text, made: () => made, selections: () => selections, pieces: () => pieces };
}

async function all(pieces: Pieces): Promise<readonly Buffer[]> {
  const buffers: Buffer[] = [];
  for await (const piece of pieces) buffers.push(Buffer.from(piece));
  return buffers;
}

describe('a list that was asked for', () => {
  test('is neither searched nor serialized again while the roll is the same', async () => {
    const { text, made, selections } = setUp();
    const entries = fleet(1_000);
    const first = await text(entries);
    assert.deepEqual([made(), selections()], [1_000, 1]);
    assert.equal(await text(entries), first);
    assert.deepEqual([made(), selections()], [0, 0]);
  });

  test('costs the piece of a node that changed, came or went, and no other', async () => {
    const { text, made } = setUp();
    let entries: readonly RollEntry[] = fleet(1_000);
    await text(entries);
    for (const next of [
      (old: readonly RollEntry[]) => old.with(500, entry(1_000, { changed: 'yes' })),
      (old: readonly RollEntry[]) => old.toSpliced(500, 0, entry(999)),
      (old: readonly RollEntry[]) => old.toSpliced(3, 1),
      (old: readonly RollEntry[]) => old.slice(1),
      (old: readonly RollEntry[]) => [...old, entry(5_000)],
    ]) {
      entries = next(entries);
      await text(entries);
      assert.ok(made() > 0 && made() <= 130, `${made()} of 1,000`);
    }
  });

  test('stays in pieces of about the same size however many nodes come and go', async () => {
    const { text, made, pieces } = setUp();
    const many = fleet(2_000);
    let entries: readonly RollEntry[] = many.slice(0, 300);
    await text(entries);
    for (let count = 400; count <= 2_000; count += 100) {
      entries = many.slice(0, count);
      await text(entries);
      assert.ok(made() <= 300, `${made()} of ${count}`);
    }
    const grown = pieces();
    assert.ok(grown >= 10 && grown <= 24, `${grown} pieces`);
    entries = many.filter((_, n) => n % 10 === 0);
    await text(entries);
    assert.ok(pieces() <= 4, `${pieces()} pieces`);
    await text(many.filter((_, n) => n % 10 === 0 || n % 400 === 1));
    assert.ok(made() <= 205 && pieces() <= 4, `${made()} made, ${pieces()} pieces`);
  });

  test('leaves out what has no JSON, also where that is a whole piece or everything', async () => {
    const { text } = setUp();
    const entries = fleet(600);
    const first = entries.slice(0, 300);
    assert.ok(!(await text(entries, 'late', (each) => !first.includes(each))).startsWith('[,'));
    await text(entries, 'odd', ({ record }) => record.ec2InstanceId.endsWith('4'));
    assert.equal(await text(entries, 'none', () => false), '[]');
    assert.equal(await text([], 'empty'), '[]');
    assert.equal(await text(entries.slice(0, 5), 'few', () => false), '[]');
  });

  test('is kept for the four last queries', async () => {
    const { text, made } = setUp();
    const entries = fleet(300);
    for (const key of ['a', 'b', 'c', 'd', 'a', 'e']) await text(entries, key);
    await text(entries, 'a');
    assert.equal(made(), 0);
    await text(entries, 'b');
    assert.equal(made(), 300);
  });
});
