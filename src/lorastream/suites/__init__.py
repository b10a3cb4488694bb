"""Many runs: methods x recipes x seeds from one file, each a `lorastream run` of its own, here or on a Ray cluster."""
