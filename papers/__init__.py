"""Figures of papers, made again: `papers.<citekey>.figN` has facts(preset) and draw(facts)."""
