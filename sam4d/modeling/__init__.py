"""The SAM4D network (arXiv 2506.21547), one file per box of the paper. Parameter names are those of the released checkpoint."""
