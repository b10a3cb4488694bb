"""The published benchmarks on a user's disk: fetched, unpacked, and split by a manifest that moves no file.

`catalogue` says what there is; `prepare` puts a split on disk; `verify` says whether it is whole; the data source
`benchmark` reads it. A split is a manifest, `<root>/lorastream/<benchmark>/<split>.json`, so that several lie side by
side over the same images.
"""
