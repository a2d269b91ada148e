// Prints the present nodes, and then what happens: node examples/watch.mjs URL, of an agent or of a store. Ctrl-C ends it.
import { log } from 'node:console';
import { applyEvent, connect } from 'rollcall/client';

const client = connect(process.argv[2] ?? 'http://127.0.0.1:21691');
process.once('SIGINT', () => client.close());

const { containerInstances } = await client.list();
for (const { ec2InstanceId, health } of containerInstances) log(`${ec2InstanceId} is ${health.status}`);

const roll = new Map();
for await (const event of client.watch()) {
  applyEvent(roll, event);
  if (event.snapshot) continue;
  if (event.type === 'rollcall.roll.synced') log(`following ${roll.size} nodes`);
  else if (event.type === 'rollcall.instance.lost')
    log(`${event.subject} is lost: ${event.data.record.privateIpAddress}`);
  else log(`${event.type} ${event.subject ?? ''}`);
  // Store event.cursor once all is done, and pass it as watch({ since }) next time: nothing is missed.
}
