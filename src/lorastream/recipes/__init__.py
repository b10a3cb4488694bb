"""Recipes: experiments as TOML, typed and checked. Only `build` turns names into objects, and only it loads torch."""
