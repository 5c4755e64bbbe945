"""Prints vectors.json: the tests of pkg/gate computed with 60 digits.

Every likelihood is written out as the definition has it, not as Go computes
it. Needs mpmath: python3 vectors.py > vectors.json
"""
import json
import random

from mpmath import beta, log, mp, mpf

mp.dps = 60
RATIOS = [mpf(x) for x in ("1.4", "1.9", "3", "6", "30")]
WEIGHTS = [mpf(x) for x in ("0.0625", "0.4375", "0.3125", "0.125", "0.0625")]


def threshold(p0, phi, below, n, s):
    total = mpf(0)
    for rho, w in zip(RATIOS, WEIGHTS):
        if below:
            rho = 1 / rho
        odds = rho * p0 / (1 - p0)
        p = odds / (1 + odds)
        total += w * ((p / p0) ** s * ((1 - p) / (1 - p0)) ** (n - s)) ** (1 / phi)
    return log(total)


def ratio(r0, phi, below, windows):
    total = mpf(0)
    for rho, w in zip(RATIOS, WEIGHTS):
        r = r0 / rho if below else r0 * rho
        product = mpf(1)
        for nc, xc, ns, xs in windows:
            theta, theta0 = r * nc / (r * nc + ns), r0 * nc / (r0 * nc + ns)
            product *= (theta / theta0) ** xc * ((1 - theta) / (1 - theta0)) ** xs
        total += w * product ** (1 / phi)
    return log(total)


def quantile(q, n, s):
    a, b = 3 / (1 - q), 3 / q
    return log(beta(a + s, b + n - s) / beta(a, b) / (q ** s * (1 - q) ** (n - s)))


def draw(rng, n, p):
    return sum(rng.random() < p for _ in range(n))


def main():
    rng = random.Random(20240711)
    rows = {"threshold": [], "ratio": [], "quantile": []}
    for i in range(60):
        p0, phi, below = rng.choice([0.001, 0.01, 0.05, 0.5]), rng.choice([1, 1, 1.75]), i % 3 == 2
        n = rng.choice([1, 20, 300, 5000, 100000])
        s = rng.choice([0, n, draw(rng, n, p0), draw(rng, n, min(1, 2 * p0))])
        rows["threshold"].append({"p0": p0, "phi": phi, "below": below, "n": n, "s": s,
                                  "log": float(threshold(mpf(p0), mpf(phi), below, n, s))})
    for i in range(60):
        r0, phi, below = rng.choice([1, 1.2, 1.5]), rng.choice([1, 1, 1.75]), i % 2 == 1
        p, true, windows = rng.choice([0.01, 0.2]), rng.choice([1, 3]), []
        for _ in range(rng.choice([1, 5, 40])):
            nc, ns = rng.randint(1, 60), rng.randint(1, 600)
            windows.append([nc, draw(rng, nc, p * true), ns, draw(rng, ns, p)])
        rows["ratio"].append({"r0": r0, "phi": phi, "below": below, "windows": windows,
                              "log": float(ratio(mpf(r0), mpf(phi), below, windows))})
    for _ in range(60):
        q = rng.choice([0.5, 0.95, 0.99, 0.999])
        n = rng.choice([1, 7, 100, 3000, 1000000])
        s = rng.choice([0, n, draw(rng, n, q), draw(rng, n, q * 0.98)])
        rows["quantile"].append({"q": q, "n": n, "s": s, "log": float(quantile(mpf(q), n, s))})
    lines = ('"%s": [\n%s\n]' % (name, ",\n".join(map(json.dumps, row))) for name, row in rows.items())
    print("{%s}" % ",\n".join(lines))


main()
