"""The layers of the elastic encoder, one class a file: each can run at a part of its width."""
