"""The routes of a node (SPEC §11) over aiohttp."""
