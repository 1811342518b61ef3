"""The commands about an app's labeling functions and its model; each a plain function that ``flows.command`` registers."""
