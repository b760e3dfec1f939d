"""What a scene is made of: poses, textures, backgrounds, lights, cameras."""
