"""What the notebooks share: the parameter layout, plotting, data, checks. Notebook 01 shows each idea in full first."""
