// By deep import: grpc-js's index loads its server, channelz and the other load balancers too, 0.1 MB of bundle and 1.3 MB of
// memory. Its files import each other in circles, and the channel has to come first.
import { ChannelImplementation } from '@grpc/grpc-js/build/src/channel.js';

import { setup } from '@grpc/grpc-js/build/src/load-balancer-pick-first.js';
import { setLogger } from '@grpc/grpc-js/build/src/logging.js';
import type { SubchannelAddress } from '@grpc/grpc-js/build/src/subchannel-address.js';
import { Http2SubchannelConnector } from '@grpc/grpc-js/build/src/transport.js';

export { CallCredentials } from '@grpc/grpc-js/build/src/call-credentials.js';
export { type Call, type StatusObject, statusOrFromValue } from '@grpc/grpc-js/build/src/call-interface.js';
export {
  ChannelCredentials,
  type SecureConnector,
  type SecureConnectResult,
} from '@grpc/grpc-js/build/src/channel-credentials.js';
export type { ChannelOptions } from '@grpc/grpc-js/build/src/channel-options.js';
export { ConnectivityState } from '@grpc/grpc-js/build/src/connectivity-state.js';
export { Metadata } from '@grpc/grpc-js/build/src/metadata.js';
export { type Resolver, type ResolverListener, registerResolver } from '@grpc/grpc-js/build/src/resolver.js';
export type { SubchannelAddress } from '@grpc/grpc-js/build/src/subchannel-address.js';
export type { GrpcUri } from '@grpc/grpc-js/build/src/uri-parser.js';

export { ChannelImplementation };

setup();
// What fails is an error of its call. Lines of grpc-js on stderr would stand between those of the agent's log.
setLogger({});

/** Of the newest connection to each address. */
const pingTimers = new WeakMap<SubchannelAddress, () => void>();

// grpc-js pings at its own pace whatever comes in, and a ping costs etcd a third of what a heartbeat does: on a connection
// that answers every few seconds anyway most of them say nothing new. Its timer is private; where a later version has none,
// it pings as before, and a test fails.
const { connect } = Http2SubchannelConnector.prototype;
Http2SubchannelConnector.prototype.connect = async function (address, ...rest) {
  const transport = await connect.call(this, address, ...rest);
  const pings = transport as unknown as { readonly keepaliveTimer?: NodeJS.Timeout | null };
  pingTimers.set(address, () => pings.keepaliveTimer?.refresh());
  return transport;
};

/** Something came from that address: its next ping is due a whole interval from now. */
export function postponePing(address: SubchannelAddress): void {
  pingTimers.get(address)?.();
}
