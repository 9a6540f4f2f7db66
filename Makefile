# The words a newcomer would try. All of them are commands of scripts/dev, which needs no make.
# Arguments: make test ARGS="-k vsock"

.PHONY: help demo test test-hosts test-large test-kernel check bench kernel kernel-verify setup clean

help:
	@scripts/dev help

demo test test-hosts test-large test-kernel check bench kernel kernel-verify setup clean:
	@scripts/dev $@ $(ARGS)
