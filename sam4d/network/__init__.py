"""The engine that runs the SAM4D network: frames encoded once, prompts decoded, objects followed by memory, rigs of several cameras."""
