"""`python -m lorastream`, which `accelerate launch -m lorastream` and `torchrun -m lorastream` start too."""

from lorastream.cli.main import main

main()
