import type { RpcError } from '../../../src/store/etcd/channel.ts';
import { WatchRequest, WatchResponse } from '../../../src/store/etcd/rpc.ts';
import type { Change, Data } from './data.ts';
import { CLUSTER_ID, encodable } from './requests.ts';

/** The client's end of a watch. */
export interface WatchSink {
  send(answer: Buffer): void;
  /** null: the member hung up. */
  end(error: RpcError | null): void;
}

export interface WatchHandle {
  close(): void;
}

interface Watcher {
  readonly from: string;
  /** null: `from` alone. */
  readonly end: string | null;
  readonly prevKv: boolean;
  /** The next revision that was not sent. */
  next: number;
}

interface Stream {
  readonly sink: WatchSink;
  readonly watchers: Watcher[];
}

/** The watches of all members. A member sends what it has carried out. */
export interface Watches {
  open(member: number, messages: readonly Buffer[], sink: WatchSink): WatchHandle;
  flush(member: number): void;
  end(member: number, error: RpcError | null): void;
}

export function createWatches(size: number, data: () => Data, applied: (member: number) => number): Watches {
  const streams = Array.from({ length: size }, () => new Set<Stream>());
  const at = (member: number) => streams[member] as Set<Stream>;
  const header = (revision: number) => ({ clusterId: CLUSTER_ID, revision: String(revision) });

  /** False: the watcher is at its end, because what it wants is gone. */
  function send({ sink }: Stream, watcher: Watcher, upTo: number): boolean {
    const compacted = data().compacted();
    if (watcher.next <= compacted) {
      const compactRevision = String(compacted);
      sink.send(WatchResponse.encode({ header: header(upTo), canceled: true, compactRevision }));
      return false;
    }
    for (const { revision, changes } of data().after(watcher.next - 1)) {
      if (revision > upTo) break;
      watcher.next = revision + 1;
      const events = changes
        .filter(({ key }) => isWatched(watcher, key))
        .map((change) => eventOf(revision, change, watcher));
      if (events.length > 0) sink.send(WatchResponse.encode({ header: header(revision), events }));
    }
    return true;
  }

  function eventOf(revision: number, { key, now, previous }: Change, { prevKv }: Watcher) {
    const kv = now ?? { key, value: '', createRevision: 0, modRevision: revision, lease: '0' };
    // The value before is read when the event is sent: a compaction may have taken it.
    const kept = prevKv && previous && revision > data().compacted();
    return { type: now === null ? '1' : '0', kv: encodable(kv), ...(kept ? { prevKv: encodable(previous) } : {}) };
  }

  return {
    open(member, messages, sink) {
      const stream: Stream = { sink, watchers: [] };
      at(member).add(stream);
      for (const message of messages) {
        const { createRequest } = WatchRequest.decode(message);
        if (createRequest === null) continue;
        const { key, rangeEnd, startRevision, prevKv } = createRequest;
        const end = rangeEnd.length === 0 ? null : rangeEnd.toString('utf8');
        const next = startRevision === '0' ? applied(member) + 1 : Number(startRevision);
        const watcher = { from: key.toString('utf8'), end, prevKv, next };
        sink.send(WatchResponse.encode({ header: header(applied(member)), created: true }));
        if (send(stream, watcher, applied(member))) stream.watchers.push(watcher);
      }
      return { close: () => void at(member).delete(stream) };
    },
    flush(member) {
      for (const stream of at(member)) {
        for (const watcher of stream.watchers) {
          if (!send(stream, watcher, applied(member))) stream.watchers.splice(stream.watchers.indexOf(watcher), 1);
        }
      }
    },
    end(member, error) {
      const ended = [...at(member)];
      at(member).clear();
      for (const { sink } of ended) sink.end(error);
    },
  };
}

function isWatched({ from, end }: Watcher, key: string): boolean {
  return end === null ? key === from : key >= from && key < end;
}
