#!/usr/bin/env python3
"""Writes what the program is made of, as CycloneDX 1.5 in JSON, to standard output.

Of Cargo.lock and `cargo metadata`: every crate that is compiled into the program or runs while it is built, with licence,
origin and checksum. Crates of tests and benchmarks are left out. The same sources give the same bytes.
"""

import json
import pathlib
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET, "--features", "cluster"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def reached(nodes, root):
    """The crates that are needed, from the root on, and what each needs."""
    needs, waiting = {}, [root]
    while waiting:
        crate = waiting.pop()
        if crate in needs:
            continue
        kinds = [(dep["pkg"], {kind["kind"] for kind in dep["dep_kinds"]}) for dep in nodes[crate]["deps"]]
        needs[crate] = sorted({name for name, kind in kinds if kind - {"dev"}})
        waiting.extend(needs[crate])
    return needs


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    result = {"type": "library", "bom-ref": purl(package), "name": package["name"], "version": package["version"]}
    if package.get("description"):
        result["description"] = " ".join(package["description"].split())
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        result["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("license"):
        # Older crates write a slash where SPDX has OR.
        result["licenses"] = [{"expression": package["license"].replace(" / ", " OR ").replace("/", " OR ")}]
    result["purl"] = purl(package)
    if package.get("repository"):
        result["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return result


def main():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    found = metadata()
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    root = found["resolve"]["root"]
    needs = reached(nodes, root)
    foreign = [p["name"] for p in map(packages.get, needs) if p["source"] not in (None, REGISTRY)]
    if foreign:
        raise SystemExit(f"these crates are from elsewhere than crates.io: {foreign}")
    others = sorted((packages[crate] for crate in needs if crate != root), key=purl)
    program = component(packages[root], checksums) | {"type": "application"}
    print(
        json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": "1.5",
                "version": 1,
                "metadata": {"component": program},
                "components": [component(package, checksums) for package in others],
                "dependencies": sorted(
                    (
                        {"ref": purl(packages[crate]), "dependsOn": [purl(packages[name]) for name in names]}
                        for crate, names in needs.items()
                    ),
                    key=lambda entry: entry["ref"],
                ),
            },
            indent=2,
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    main()
