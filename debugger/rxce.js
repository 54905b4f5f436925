"use strict";

// What rxce.sys has built, for WinDbg and kd:
//
//     .scriptload C:\path\to\rxce.js
//     !rxce                                     everything
//     dx -r3 @$rxce()                           the same, to click through
//     dx @$rxce().Where(t => t.name == "\\Device\\Tcp")
//
// It needs no symbols: the driver has a table of addresses and offsets, which is found by its signature. Live or in a dump it only
// reads, and without the driver's locks: where a structure changes meanwhile, an entry may be missing or the walk may end early.

const SIGNATURE = "rxce debug map 2";

// The table's members behind the signature, eight bytes each: `Map` in src/connection/debugger.rs.
const MEMBERS = [
    "shards", "shardCount", "shardBytes",
    "firstHeads", "moreHeads", "segments", "buckets",
    "kind", "key", "next", "usable",
    "addressTransport", "connectionAddress", "circuitConnection",
    "transportFlow", "addressFlow", "connectionFlow", "circuitFlow",
    "transportStripes", "stripeCount", "stripeBytes", "stripeRecent", "recentByteBits",
    "nameText", "nameBytes",
    "publicState",
];

const KINDS = ["transport", "address", "connection", "circuit", "placeholder"];
// RXCE_VC_ACTIVE and the others of rxce.h.
const STATES = { 0: "not built", 0xaa: "ACTIVE", 0xdd: "DISCONNECTED", 0xbb: "TEARDOWN" };

const PAGE = 0x1000;
// Enough for any image of this driver, and for any chain of a bucket.
const MOST_PAGES = 0x400;
const LONGEST_CHAIN = 0x10000;
// How many heads the first segment has; each later one has as many as all before it.
const FIRST_SEGMENT = 16;

function bytes(address, count) {
    return host.memory.readMemoryValues(address, count, 1);
}

function number(address, size) {
    return host.memory.readMemoryValues(address, 1, size)[0];
}

function pointer(address) {
    return number(address, 8);
}

function isNull(address) {
    return address.compareTo(0) === 0;
}

// The offsets and counts of the table fit into plain numbers.
function small(address) {
    return pointer(address).asNumber();
}

function hexadecimal(address) {
    return "0x" + address.toString(16);
}

// The first page of the image: the entry point is exported, and the header stands at a page's start below it.
function imageBase() {
    const entry = host.getModuleSymbolAddress("rxce", "DriverEntry");
    if (!entry) {
        throw new Error("rxce.sys is not loaded (see lm m rxce)");
    }
    let page = entry.bitwiseAnd(~(PAGE - 1));
    for (let looked = 0; looked < MOST_PAGES; looked += 1) {
        if (number(page, 2) === 0x5a4d) {
            return page;
        }
        page = page.subtract(PAGE);
    }
    throw new Error("rxce.sys has no header below DriverEntry");
}

// The sections that hold data.
function* sections(base) {
    const header = base.add(number(base.add(0x3c), 4));
    const count = number(header.add(6), 2);
    const first = header.add(24 + number(header.add(20), 2));
    for (let index = 0; index < count; index += 1) {
        const section = first.add(index * 40);
        const executable = (number(section.add(36), 4) & 0x20000000) !== 0;
        const discardable = (number(section.add(36), 4) & 0x02000000) !== 0;
        if (!executable && !discardable) {
            yield { start: base.add(number(section.add(12), 4)), length: number(section.add(8), 4) };
        }
    }
}

function findMap() {
    const wanted = Array.from(SIGNATURE, (letter) => letter.charCodeAt(0));
    for (const { start, length } of sections(imageBase())) {
        const content = bytes(start, length);
        // The table is aligned as its pointers are.
        for (let at = 0; at + wanted.length <= length; at += 8) {
            if (wanted.every((byte, index) => content[at + index] === byte)) {
                return start.add(at + wanted.length);
            }
        }
    }
    throw new Error("this rxce.sys has no table for this script: they are of different versions");
}

function readMap() {
    const start = findMap();
    const map = { shards: pointer(start) };
    MEMBERS.forEach((name, index) => {
        if (name !== "shards") {
            map[name] = small(start.add(index * 8));
        }
    });
    return map;
}

// The heads of a shard's buckets, segment by segment.
function* heads(map, shard) {
    let left = number(shard.add(map.buckets), 4);
    let length = FIRST_SEGMENT;
    for (let segment = 0; segment < map.segments && left > 0; segment += 1) {
        const start = segment === 0 ? shard.add(map.firstHeads) : pointer(shard.add(map.moreHeads + segment * 8));
        if (segment > 1) {
            length *= 2;
        }
        if (!isNull(start)) {
            for (let index = 0; index < Math.min(length, left); index += 1) {
                yield pointer(start.add(index * 8));
            }
        }
        left -= length;
    }
}

// Every registered block, of whatever kind.
function* blocks(map) {
    for (let index = 0; index < map.shardCount; index += 1) {
        for (let block of heads(map, map.shards.add(index * map.shardBytes))) {
            for (let depth = 0; !isNull(block) && depth < LONGEST_CHAIN; depth += 1) {
                yield block;
                block = pointer(block.add(map.next));
            }
        }
    }
}

function flow(address) {
    const [sends, bytesSent, receives, bytesReceived] = [0, 8, 16, 24].map((offset) => small(address.add(offset)));
    return { sends, bytesSent, receives, bytesReceived };
}

// Times and bytes in one word. The bytes take more than its lower half, and the whole is more than a plain number holds exactly.
function recent(map, address) {
    const [low, high] = [number(address, 4), number(address.add(4), 4)];
    const bits = map.recentByteBits - 32;
    return [high >>> bits, (high & ((1 << bits) - 1)) * 0x100000000 + low];
}

function transportFlow(map, block) {
    const sum = flow(block.add(map.transportFlow));
    for (let stripe = 0; stripe < map.stripeCount; stripe += 1) {
        const start = block.add(map.transportStripes + stripe * map.stripeBytes);
        const more = flow(start);
        for (const name of Object.keys(sum)) {
            sum[name] += more[name];
        }
        const [sends, bytesSent] = recent(map, start.add(map.stripeRecent));
        const [receives, bytesReceived] = recent(map, start.add(map.stripeRecent + 8));
        sum.sends += sends;
        sum.bytesSent += bytesSent;
        sum.receives += receives;
        sum.bytesReceived += bytesReceived;
    }
    return sum;
}

function transportName(map, block) {
    const text = pointer(block.add(map.nameText));
    const units = number(block.add(map.nameBytes), 2) / 2;
    return String.fromCharCode(...host.memory.readMemoryValues(text, units, 2));
}

// One thing that the engine has built.
function describe(map, block) {
    const kind = KINDS[number(block.add(map.kind), 1)] || "unknown";
    const structure = pointer(block.add(map.key));
    const thing = {
        kind,
        structure: hexadecimal(structure),
        block: hexadecimal(block),
        usable: number(block.add(map.usable), 1) === 1,
    };
    if (kind === "transport") {
        thing.name = transportName(map, block);
        thing.counters = transportFlow(map, block);
        thing.addresses = [];
    } else if (kind === "address") {
        thing.parent = hexadecimal(pointer(block.add(map.addressTransport)));
        thing.counters = flow(block.add(map.addressFlow));
        thing.connections = [];
    } else if (kind === "connection") {
        thing.parent = hexadecimal(pointer(block.add(map.connectionAddress)));
        thing.counters = flow(block.add(map.connectionFlow));
        thing.circuits = [];
    } else if (kind === "circuit") {
        thing.parent = hexadecimal(pointer(block.add(map.circuitConnection)));
        thing.counters = flow(block.add(map.circuitFlow));
        thing.state = STATES[number(structure.add(map.publicState), 4)] || "unknown";
    }
    return thing;
}

// The transports, with what was built over them; whatever has no parent among them is in the list itself.
function walk() {
    const map = readMap();
    const things = Array.from(blocks(map), (block) => describe(map, block));
    const byBlock = new Map(things.map((thing) => [thing.block, thing]));
    const roots = [];
    for (const thing of things) {
        const parent = byBlock.get(thing.parent);
        const children = parent && (parent.addresses || parent.connections || parent.circuits);
        (children || roots).push(thing);
    }
    return roots;
}

function initializeScript() {
    return [new host.apiVersionSupport(1, 7), new host.functionAlias(walk, "rxce")];
}
