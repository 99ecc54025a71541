"""People from MakeHuman's CC0 meshes: bodies, clothes, hair and shoes with procedural textures."""
