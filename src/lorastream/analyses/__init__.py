"""The analyses of the SD-LoRA and InfLoRA papers, each on any finished run: a claim, figures, whether it holds."""
