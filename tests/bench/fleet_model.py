"""What becomes of many servers and clients, by simulation: how long calls queue, and how soon clients see new servers.

Every function takes its random numbers from `rng`, so that the same seed gives the same figures.
"""
import heapq
import math


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def one_queue(rng, servers, clients):
    """Whichever server is free takes the next call: what no balancer can better."""
    del rng, clients
    everybody = [0.0] * servers
    return lambda client: everybody


def at_random(rng, servers, clients):
    """Each call goes to a random server."""
    del clients
    queues = [[0.0] for _ in range(servers)]
    return lambda client: rng.choice(queues)


def round_robin(rng, servers, clients, subset=None):
    """Each client takes turns on all servers, or on `subset` random ones of its own.

    gRPC's round_robin begins at a random place of the list that the name has, the same for all clients."""
    queues = [[0.0] for _ in range(servers)]
    lists = [rng.sample(queues, subset) if subset else queues for _ in range(clients)]
    turns = [rng.randrange(len(some)) for some in lists]

    def pick(client):
        turns[client] = (turns[client] + 1) % len(lists[client])
        return lists[client][turns[client]]
    return pick


def queueing(rng, policy, servers, clients, load, service, calls):
    """(p99 of the time in a queue, CPU time of the busiest server / the mean), in service times.

    Calls come at random (Poisson) from random clients; a server works on one at a time, in the order of arrival, for
    service(rng), of mean 1; load: the share of the time that a server works. policy(rng, servers, clients) gives a
    function from a client to the queue that takes its call: a heap of the times at which its servers are free. The
    first tenth of the calls only fills the queues."""
    pick = policy(rng, servers, clients)
    now, waits, work = 0.0, [], {}
    for i in range(calls):
        now += rng.expovariate(load * servers)
        queue, length = pick(rng.randrange(clients)), service(rng)
        start = max(now, queue[0])
        heapq.heapreplace(queue, start + length)
        if i >= calls // 10:
            waits.append(start - now)
        work[id(queue)] = work.get(id(queue), 0.0) + length
    return percentile(waits, 0.99), max(work.values()) * len(work) / sum(work.values())


def fixed(rng):
    """All calls of one size."""
    del rng
    return 1.0


def mixed(rng):
    """Calls of very different sizes."""
    return rng.expovariate(1.0)


def lookups_a_second(connections, age, least_gap=1.0):
    """How often a client looks the name up whose `connections` end at random, each after `age` seconds.

    A lookup follows at once when a connection ends, but not within least_gap of the last one: then it follows when that
    is over. With ends at a rate r the gap has none with exp(-r gap), and the next one then takes 1/r more."""
    rate = connections / age
    return 1 / (least_gap + math.exp(-rate * least_gap) / rate)


def lookups_simulated(rng, connections, age, seconds, jitter=0.1, least_gap=1.0):
    """The same, counted: each connection ends after age +- jitter (gRPC's own) and is made anew at once."""
    ends = [rng.uniform(0, age) for _ in range(connections)]
    heapq.heapify(ends)
    count, last = 0, -least_gap
    while ends[0] < seconds:
        now = heapq.heapreplace(ends, ends[0] + age * rng.uniform(1 - jitter, 1 + jitter))
        if now > last:  # else a lookup is already planned that will see this end, too
            last = max(now, last + least_gap)
            count += 1
    return count / seconds


def finds_new_servers(rng, connections, age, told_from, least_gap=1.0):
    """When a client knows of new servers that the name has from the time told_from on."""
    begin, at = told_from - 2 * least_gap, -math.inf
    ends = sorted(begin + rng.uniform(0, age) for _ in range(connections))
    for end in ends + [end + age for end in ends]:
        if end > at:
            at = max(end, at + least_gap)
            if at >= told_from:
                return at
    raise ValueError(f"an age of {age} s is too short")
