"""The masking engine a second time: a row and the keys of `[train.masking]` in, its
masks out.

Written from the documentation (`src/masking/mod.rs`, "From key to mask, draw by draw",
and the heads of the files it names; `src/base/generator.rs` for the streams), in its
words and in its order, to be read beside it. Slow and plain on purpose: positions are
lists, a unit is a list of positions, and a copy's selection is a list of groups, which
are what one category of replacement or one whole label is drawn for.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

import numpy as np

RATE, SELECT, PREDICT, REPLACE = 0, 1, 2, 3


# Streams: src/base/generator.rs.


class Stream:
    """The draws of one (seed, epoch, sample, copy, purpose)."""

    def __init__(self, key, purpose, copy):
        self.philox = np.random.Philox(
            key=np.array([key["seed"], key["epoch"]], dtype=np.uint64),
            counter=np.array([0, key["sample"], (copy << 32) | purpose, 0], dtype=np.uint64),
        )
        self.half = None

    def word(self):
        self.half = None
        return int(self.philox.random_raw())

    def unit(self):
        return (self.word() >> 11) * 2.0**-53

    def half_word(self):
        if self.half is not None:
            high, self.half = self.half, None
            return high
        word = self.word()
        self.half = word >> 32
        return word & 0xFFFFFFFF

    def below(self, n):
        product = self.half_word() * n
        if product & 0xFFFFFFFF < n:
            threshold = (2**32 - n) % n
            while product & 0xFFFFFFFF < threshold:
                product = self.half_word() * n
        return product >> 32

    def step(self, items, index):
        """Step `index` of Fisher–Yates; nothing is drawn where one item is left."""
        if len(items) - index > 1:
            other = index + self.below(len(items) - index)
            items[index], items[other] = items[other], items[index]
        return items[index]

    def shuffle_prefix(self, items, count):
        """The first `count` of `items` after so many steps of Fisher–Yates."""
        items = list(items)
        for index in range(min(count, len(items))):
            self.step(items, index)
        return items[:count]


# What the engine knows besides the row.


@dataclass
class Tokens:
    """The vocabulary: its size, the reserved ids, and the special ones by role."""

    size: int
    reserved: set
    mask: int
    sep: int
    sentinels: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)

    @cached_property
    def ordinary(self):
        """Ids that a random replacement is drawn from, ascending."""
        return [id for id in range(self.size) if id not in self.reserved]

    @cached_property
    def ordinary_up_to(self):
        """How often each of them and all before it occur."""
        return list(accumulate(self.counts.get(id, 0) for id in self.ordinary))


@dataclass
class Stamp:
    """Where the row stands: the step, and which of the rows of the step it is."""

    step: int
    place: int
    rows: int


# Rate: one stream a row.


def law(rate):
    """A rate's law and its arguments; a number is the law `constant`."""
    if not isinstance(rate, str):
        return "constant", [rate]
    name, arguments = rate.rstrip(")").split("(")
    if name == "piecewise":
        pairs = (piece.split(":") for piece in arguments.split(","))
        return name, [(int(step), float(value)) for step, value in pairs]
    return name, [float(argument) for argument in arguments.split(",")]


def is_weighted(rate):
    return law(rate)[0] in ("diffusion", "antithetic")


def rate_of(rate, schedule_steps, stamp, stream):
    name, arguments = law(rate)
    done = min(stamp.step / max(schedule_steps, 1), 1.0)
    if name == "constant":
        return arguments[0]
    if name == "linear":
        a, b = arguments
        return a + (b - a) * done
    if name == "cosine":
        a, b = arguments
        return b + (a - b) * (1.0 + math.cos(math.pi * done)) / 2.0
    if name == "piecewise":
        return [value for step, value in arguments if step <= stamp.step][-1]
    u = stream.unit()
    if name == "uniform":
        a, b = arguments
        return a + (b - a) * u
    (epsilon,) = arguments
    if name == "antithetic":
        u = (stamp.place + u) / stamp.rows
    return epsilon + (1.0 - epsilon) * u


def number_of_copies(m, p):
    return max(1, math.ceil(p / m - 1e-9)) if p > m > 0 else 1


# Counts: how many tokens a rate is.


def rounded(rule, rate, count):
    if rule == "ceil":
        tokens = max(0, math.ceil(rate * count - 1e-9))
    else:
        tokens = max(1, round(rate * count)) if rate > 0 else 0
    return min(tokens, count)


@dataclass
class Counts:
    """n_j and l_j of each copy, and U."""

    selected: list
    labelled: list
    lift: float = 0.0


def draw_counts(way, B, stream):
    rule, lift = way.budget, 0.0
    if rule == "fair":
        lift = stream.unit()
        whole = lambda rate: int(min(rate * B + lift, B))
    elif rule == "bernoulli":
        draws = [stream.unit() for _ in range(B)]
        whole = lambda rate: sum(u < rate for u in draws)
    else:
        whole = lambda rate: rounded(rule, rate, B)
    N = [0] + [whole((j + 1) * way.m) for j in range(way.k)]
    P = whole(way.p)
    selected = [after - before for before, after in zip(N, N[1:])]
    labelled = [min(max(P, before), after) - before for before, after in zip(N, N[1:])]
    if way.p >= way.m:
        selected = [min(n, way.cap) for n in selected]
    return Counts(selected, [min(l, way.cap) for l in labelled], lift)


# Which: units, spans, spans of words, weights. Each gives a list of groups a copy.


def units_of(row, maskable, starts):
    """Maskable positions, cut where a unit starts and at protected positions."""
    units = []
    for position in maskable:
        if position in starts or not units or units[-1][-1] != position - 1:
            units.append([])
        units[-1].append(position)
    return units


def copy_below(u, share, copies):
    """The copy that a draw u falls to under `bernoulli`; None above them all."""
    return next((j for j in range(copies) if u < (j + 1) * share), None)


def each_unit(units, share, copies, stream):
    chosen = [[] for _ in range(copies)]
    for unit in units:
        copy = copy_below(stream.unit(), share, copies)
        if copy is not None:
            chosen[copy].append(unit)
    return chosen


def fill(units, counts, overshoot, stream):
    """Units until each copy has its count (src/masking/units.rs)."""
    if sum(counts) == 0:
        return [[] for _ in counts]
    if overshoot == "fair":
        return fill_circle(units, counts, stream)
    if overshoot == "skip":
        return fill_skipping(units, counts, stream)
    return fill_in_turn(units, counts, overshoot, stream)


def fill_circle(units, counts, stream):
    chosen = [[] for _ in counts]
    ends = list(accumulate(counts))
    slots = sum(map(len, units))

    def give(unit, slot):
        copy = bisect_right(ends, slot)
        if copy < len(counts):
            chosen[copy].append(unit)

    drawn = stream.below(slots)
    order = list(range(len(units)))
    starts = [0, *accumulate(map(len, units))]
    first = bisect_right(starts, drawn) - 1
    order[0], order[first] = order[first], order[0]
    unit, o = units[first], drawn - starts[first]
    front = len(unit) - o
    a = stream.below(len(unit)) if len(unit) > 1 else 0
    give(unit, a if a < front else slots - o + (a - front))

    at = front
    for index in range(1, len(units)):
        if at >= ends[-1]:
            break
        unit = units[stream.step(order, index)]
        end = ends[bisect_right(ends, at)]
        across = at + len(unit) > end
        give(unit, at + stream.below(len(unit)) if across else at)
        at += len(unit)
    return chosen


def fill_in_turn(units, counts, overshoot, stream):
    chosen, order, index = [[] for _ in counts], list(range(len(units))), 0
    for copy, left in enumerate(counts):
        while left > 0 and index < len(units):
            unit = units[stream.step(order, index)]
            index += 1
            taken = unit if overshoot == "take" else unit[:left]
            chosen[copy].append(taken)
            left -= len(taken)
    return chosen


def fill_skipping(units, counts, stream):
    chosen, order, looked_at, taken = [[] for _ in counts], list(range(len(units))), 0, set()
    for copy, left in enumerate(counts):
        for index in range(len(units)):
            if left == 0:
                break
            if index == looked_at:
                stream.step(order, index)
                looked_at += 1
            unit = order[index]
            if unit not in taken and len(units[unit]) <= left:
                taken.add(unit)
                chosen[copy].append(units[unit])
                left -= len(units[unit])
    return chosen


def deal(units, copies, stream):
    """Units that all copies selected together, shared out."""
    N = sum(map(len, units))
    if N == 0:
        return [[] for _ in range(copies)]
    V = stream.unit()
    together = [int(min(N * j / copies + V, N)) for j in range(copies)] + [N]
    counts = [after - before for before, after in zip(together, together[1:])]
    return fill(units, counts, "fair", stream)


def composition(total, parts, stream):
    cuts = sorted(stream.shuffle_prefix(range(1, total), parts - 1))
    return [after - before for before, after in zip([0, *cuts], [*cuts, total])]


def token_spans(counts, way, stream):
    """T5's spans, copy by copy (src/masking/spans.rs)."""
    left, copies = way.maskable, []
    for n in counts.selected:
        all = len(left)
        n = min(n, all)
        spans = []
        if 0 < n == all:
            spans = [left]
        elif n > 0:
            s = way.span_count or round(n / way.mean_span_length)
            s = min(max(1, s), n, all - n)
            lengths = composition(n, s, stream)
            gaps = composition(all - n, s, stream)
            at = stream.below(all) if way.roll_spans else 0
            for gap, length in zip(gaps, lengths):
                at += gap
                places = range(at, at + length)
                # A span that goes around the end is two.
                spans.append([left[place] for place in places if place < all])
                spans.append([left[place - all] for place in places if place >= all])
                at += length
        copies.append(sorted(filter(None, spans)))
        taken = set(sum(spans, []))
        left = [position for position in left if position not in taken]
    return copies


def word_span_lengths(way):
    """Cumulative probabilities of 1, 2, … words."""
    if way.strategy == "geometric":
        shares = [(1.0 - way.span_p) ** l for l in range(way.max_span_words or 10)]
    else:
        shares = [1.0 / n for n in range(1, (way.max_span_words or 3) + 1)]
    sums = list(accumulate(shares))
    return [one / sums[-1] for one in sums]


def word_spans(counts, way, stream):
    """Spans of words (src/masking/word_spans.rs)."""
    words, left = way.words, sum(counts.selected)
    up_to = word_span_lengths(way)
    order, taken, spans = list(range(len(words))), {}, 0  # word: (its span, its tokens)
    for index in range(len(words)):
        if left <= 0:
            break
        first = stream.step(order, index)
        if first in taken:
            continue
        u = stream.unit()
        length = min(bisect_right(up_to, u), len(up_to) - 1) + 1
        span = [w for w in range(first, min(first + length, len(words))) if w not in taken]
        size = sum(len(words[w]) for w in span)
        most = size
        if size > left:
            if way.overshoot == "skip":
                continue
            if way.overshoot == "fair" and stream.below(size) >= left:
                break
            if way.overshoot == "truncate":
                most = left
        for w in span:
            tokens = words[w][:most]
            if tokens:
                taken[w] = (spans, tokens)
            most -= len(tokens)
        spans += 1
        left -= size

    if way.k == 1:
        copy_of = {w: 0 for w in taken}
    else:
        pieces = []
        for w in sorted(taken):
            if pieces and pieces[-1][-1] == w - 1 and taken[w - 1][0] == taken[w][0]:
                pieces[-1].append(w)
            else:
                pieces.append([w])
        tokens_of = [sum((taken[w][1] for w in piece), []) for piece in pieces]
        piece_of = {tokens[0]: piece for tokens, piece in zip(tokens_of, pieces)}
        copy_of = {}
        for copy, dealt in enumerate(deal(tokens_of, way.k, stream)):
            for tokens in dealt:
                copy_of |= {w: copy for w in piece_of[tokens[0]]}

    copies = [[] for _ in range(way.k)]
    for w in sorted(copy_of):
        copy, tokens = copy_of[w], taken[w][1]
        if copy_of.get(w - 1) == copy:
            copies[copy][-1] += tokens  # Spans that touch are one.
        else:
            copies[copy].append(list(tokens))
    return copies


def weighted_units(units, counts, row, way, tokens, stream):
    """Units by the weights of their tokens (src/masking/weights.rs)."""
    if way.budget == "bernoulli" or way.budget == "fair" and way.cap == math.inf:
        T = way.k * way.m * len(way.maskable)
    else:
        T = float(sum(counts.selected))

    weight = lambda position: float(np.float32(tokens.weights.get(row["ids"][position], 1.0)))
    w = [sum(map(weight, unit)) / len(unit) for unit in units]
    certain = set()
    while True:
        rest = sum(len(units[i]) * w[i] for i in range(len(units)) if i not in certain)
        c = max(T - sum(len(units[i]) for i in certain), 0.0) / rest if rest > 0 else 0.0
        more = {i for i in range(len(units)) if i not in certain and c * w[i] >= 1.0}
        if not more:
            break
        certain |= more
    pi = [1.0 if i in certain else c * w[i] for i in range(len(units))]
    possible = [i for i in range(len(units)) if pi[i] > 0]

    if way.budget == "bernoulli":
        copies = [[] for _ in range(way.k)]
        for i in possible:
            copy = stream.unit() * way.k / pi[i]
            if copy < way.k:
                copies[int(copy)].append(units[i])
        return copies

    order = stream.shuffle_prefix(possible, len(possible))
    whole = way.budget == "fair" and way.cap == math.inf
    S = counts.lift if whole else stream.unit()
    selected = []
    for i in order:
        before, S = S, S + pi[i]
        if math.floor(S + 1e-9) > math.floor(before + 1e-9):
            selected.append(i)
    selected = [units[i] for i in sorted(selected)]
    return [selected] if way.k == 1 else deal(selected, way.k, stream)


def select(row, way, tokens, key):
    """The groups of each copy, and the counts, where there are any."""
    stream, counts = Stream(key, SELECT, 0), None
    spans = way.strategy in ("span", "geometric", "ngram")
    if way.budget != "bernoulli" or spans:
        counts = draw_counts(way, len(way.maskable), stream)
    if spans:
        select_spans = token_spans if way.strategy == "span" else word_spans
        return select_spans(counts, way, stream), counts
    units = {
        "uniform": [[position] for position in way.maskable],
        "word": way.words,
        "pmi": way.units,
    }[way.strategy]
    if way.token_weights:
        return weighted_units(units, counts, row, way, tokens, stream), counts
    if way.budget == "bernoulli":
        return each_unit(units, way.m, way.k, stream), counts
    if way.strategy != "uniform":
        return fill(units, counts.selected, way.overshoot, stream), counts
    drawn = stream.shuffle_prefix(units, sum(counts.selected))
    ends = [0, *accumulate(counts.selected)]
    return [drawn[begin:end] for begin, end in zip(ends, ends[1:])], counts


# Predict: one stream a copy.


def labels(copy, groups, counts, way, key):
    """The positions that carry a label, and how many of them are extra ones."""
    stream = Stream(key, PREDICT, copy)
    selected = sorted(sum(groups, []))
    whole_units = way.predict_whole_units and way.strategy != "uniform"
    pieces = sorted(groups) if whole_units else [[position] for position in selected]
    if way.budget == "bernoulli":
        l = 1.0
        if way.m > 0 and way.p != way.m:
            l = (min((copy + 1) * way.m, way.p) - copy * way.m) / way.m
        labelled = selected if l >= 1 else sum(each_unit(pieces, l, 1, stream)[0], [])
    else:
        n, l = counts.selected[copy], counts.labelled[copy]
        if l >= n:
            labelled = selected
        else:
            count, left = divmod(len(selected) * l, n)
            if left > 0 and stream.below(n) < left:
                count += 1
            if whole_units:
                labelled = sum(fill(pieces, [count], way.overshoot, stream)[0], [])
            else:
                labelled = stream.shuffle_prefix(selected, count)
    if len(labelled) > way.cap:
        labelled = stream.shuffle_prefix(sorted(labelled), way.cap)

    extra = []
    if way.extra_same > 0:
        others = sorted(set(way.maskable) - set(selected))
        if way.budget == "bernoulli":
            others = [position for position in others if stream.unit() < way.extra_same]
            count = len(others)
        elif way.budget == "fair":
            count = int(min(way.extra_same * len(others) + stream.unit(), len(others)))
        else:
            count = rounded(way.budget, way.extra_same, len(others))
        extra = stream.shuffle_prefix(others, min(count, way.cap - len(labelled)))
    return sorted(labelled + extra), len(extra)


# Replace: one stream a copy.


def random_id(way, tokens, stream):
    ordinary, up_to = tokens.ordinary, tokens.ordinary_up_to
    if way.random_ids == "uniform":
        return ordinary[stream.below(len(ordinary))]
    return ordinary[bisect_right(up_to, int(stream.unit() * up_to[-1]))]


def replace(copy, row, groups, way, tokens, key):
    """Ids after corruption, and the category of each selected position."""
    stream = Stream(key, REPLACE, copy)
    selected = set(sum(groups, []))
    if way.replacement_level == "unit" and way.strategy != "uniform":
        pieces = sorted(groups)
    elif way.replacement_level == "word":
        pieces = [[position for position in word if position in selected] for word in way.words]
    else:
        pieces = [[position] for position in sorted(selected)]
    random_below = way.mask_share + way.random_share if way.same_share > 0 else 1.0
    mask_below = way.mask_share if way.random_share > 0 else random_below
    ids, categories = list(row["ids"]), {}
    for piece in filter(None, pieces):
        c = stream.unit()
        category = "masked" if c < mask_below else "random" if c < random_below else "same"
        for position in piece:
            categories[position] = category
            if category == "masked":
                ids[position] = tokens.mask
            elif category == "random":
                ids[position] = random_id(way, tokens, stream)
    return ids, categories


# Layouts: functions of what was selected, labelled and replaced.


def cut_runs(groups, sentinels):
    """Without what lies behind the first `sentinels` runs of selected positions."""
    selected = set(sum(groups, []))
    opening = sorted(position for position in selected if position - 1 not in selected)
    if len(opening) <= sentinels:
        return groups
    kept = ([position for position in group if position < opening[sentinels]] for group in groups)
    return [group for group in kept if group]


def in_place(row, ids, labelled):
    return {"input": ids, "predicted": labelled, "labels": [row["ids"][i] for i in labelled]}


def removed(row, ids, categories, labelled):
    stay = [i for i in range(len(ids)) if categories.get(i) != "masked"]
    return in_place(row, [ids[i] for i in stay], labelled) | {"places": stay}


def sentinel(row, selected, labelled, tokens):
    ids, sentinels = row["ids"], iter(tokens.sentinels)
    input, places, target, predicted = [], [], [], []
    for position, id in enumerate(ids):
        if position not in selected:
            input.append(id)
            places.append(position)
            continue
        if position - 1 not in selected:
            mark = next(sentinels)
            input.append(mark)
            places.append(position)
            predicted.append(len(target))
            target.append(mark)
        if position in labelled:
            predicted.append(len(target))
        target.append(id)
    if selected:
        predicted.append(len(target))
        target.append(tokens.sep)
    said = [target[place] for place in predicted]
    return {
        "input": input,
        "places": places,
        "target": target,
        "predicted": predicted,
        "labels": said,
    }


# The whole.


class Way:
    """The keys of one way to mask, and what a row makes of them."""

    token_weights = max_predictions = span_count = max_span_words = prediction_rate = None
    schedule_steps = 1

    def __init__(self, keys, row, stamp, stream):
        self.__dict__.update(keys)
        self.cap = math.inf if self.max_predictions is None else self.max_predictions
        asked = self.corruption_rate if self.prediction_rate is None else self.prediction_rate
        self.is_weighted = is_weighted(self.corruption_rate) or is_weighted(asked)
        self.m = rate_of(self.corruption_rate, self.schedule_steps, stamp, stream)
        self.p = self.m
        if self.prediction_rate is not None:
            self.p = rate_of(self.prediction_rate, self.schedule_steps, stamp, stream)
        self.k = number_of_copies(self.m, self.p)
        protected = set(row["protected"])
        self.maskable = [i for i in range(len(row["ids"])) if i not in protected]
        self.words = units_of(row, self.maskable, set(row["word_start"]))
        self.units = units_of(row, self.maskable, set(row.get("unit_start", [])))


def mask(row, keys, tokens, stamp, key):
    """What a mask of `cloze mask --format json` says, from `keys` as it says them."""
    stream, component = Stream(key, RATE, 0), None
    if mixture := keys.get("mixture"):
        component = 0
        if len(mixture) > 1:
            sums = list(accumulate(one["weight"] for one in mixture))
            shares = [one / sums[-1] for one in sums]
            component = min(bisect_right(shares, stream.unit()), len(mixture) - 1)
        keys = {**keys, **mixture[component]}
    way = Way(keys, row, stamp, stream)
    drawn = {
        "component": component,
        "corruption_rate": way.m,
        "prediction_rate": way.p,
        "weight": float(np.float32(1.0 / way.p)) if way.is_weighted else 1.0,
        "copies": [],
    }
    copies, counts = [[]] * way.k, Counts([0] * way.k, [0] * way.k)
    if way.maskable:
        copies, counts = select(row, way, tokens, key)
    for copy, groups in enumerate(copies):
        beyond = sum(map(len, groups))
        if way.layout == "sentinel":
            groups = cut_runs(groups, len(tokens.sentinels))
        beyond -= sum(map(len, groups))
        labelled, extra = [], 0
        if way.maskable:
            labelled, extra = labels(copy, groups, counts, way, key)
        ids, categories = replace(copy, row, groups, way, tokens, key)
        if way.layout == "sentinel":
            shown = sentinel(row, set(categories), labelled, tokens)
        elif way.layout == "removed":
            shown = removed(row, ids, categories, labelled)
        else:
            shown = in_place(row, ids, labelled)
        found = list(categories.values())
        shown["realised"] = {
            "maskable": len(way.maskable),
            "masked": found.count("masked"),
            "random": found.count("random"),
            "same": found.count("same") + extra,
            "predicted": len(labelled),
            "without_sentinel": beyond,
        }
        drawn["copies"].append(shown)
    return drawn
