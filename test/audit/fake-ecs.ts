import type { ContainerInstance, Described, EcsApi } from '../../src/ecs/ecs-api.ts';
import { SCOPE } from './sample-sides.ts';

/** The read calls of the ECS API, over a list that the test changes. */
export interface FakeEcs extends EcsApi {
  clusters: readonly string[];
  instances: readonly ContainerInstance[];
  /** Called before each request; may throw, or change the answer. */
  onRequest: (request: string) => void;
  /** Replaces an answer of DescribeContainerInstances. */
  onDescribe: (described: Described) => Described;
  /** `list demo`, `describe demo 2`, in order. */
  readonly requests: readonly string[];
}

export function fakeEcs(instances: readonly ContainerInstance[], clusters: readonly string[] = ['demo']): FakeEcs {
  const requests: string[] = [];
  const asked = (fake: FakeEcs, request: string) => {
    requests.push(request);
    fake.onRequest(request);
  };
  const unused = () => Promise.reject(new Error('an audit only reads'));
  const PAGE = 100;
  return {
    label: 'fake ECS',
    clusters,
    instances,
    requests,
    onRequest: () => {},
    onDescribe: (described) => described,
    async listClusters() {
      asked(this, 'clusters');
      return { arns: this.clusters.map((name) => `${SCOPE}:cluster/${name}`), next: null };
    },
    async listContainerInstances(cluster, page) {
      asked(this, `list ${cluster}`);
      const name = cluster.split('/').at(-1);
      // As in ECS: without a status filter, all but deregistered instances.
      const arns = this.instances
        .filter((each) => each.cluster === name && each.status !== 'INACTIVE')
        .map((each) => each.containerInstanceArn);
      const from = Number(page ?? 0);
      return { arns: arns.slice(from, from + PAGE), next: from + PAGE < arns.length ? String(from + PAGE) : null };
    },
    async describeContainerInstances(cluster, arns) {
      asked(this, `describe ${cluster} ${arns.length}`);
      const name = cluster.split('/').at(-1);
      if (arns.length > 100) throw new Error('InvalidParameterException: more than 100');
      const strange = arns.find((arn) => arn.split('/').length === 3 && arn.split('/')[1] !== name);
      if (strange) throw new Error(`InvalidParameterException: Identifier is for another cluster: ${strange}`);
      const known = this.instances.filter((each) => each.cluster === name && arns.includes(each.containerInstanceArn));
      const missing = arns.filter((arn) => !known.some((each) => each.containerInstanceArn === arn));
      return this.onDescribe({ instances: known, failures: missing.map((arn) => ({ arn, reason: 'MISSING' })) });
    },
    updateContainerInstancesState: unused,
    putAttributes: unused,
    deleteAttributes: unused,
    describeTaskDefinition: unused,
    startTask: unused,
    close: () => {},
  };
}
