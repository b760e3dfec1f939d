#version 410 core
// Camera frame throughout: x right, y down, z forward, metres. P maps it to clip space, image row 0 at the bottom.

layout(location = 0) in vec3 position_m;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec4 tangent;
layout(location = 3) in vec2 uv;

uniform mat4 P;

out vec3 surface_m;
out vec3 surface_normal;
out vec3 surface_tangent;
flat out float handedness;
out vec2 surface_uv;

invariant gl_Position; // passes with different fragment shaders cover the same samples

void main() {
    gl_Position = P * vec4(position_m, 1.0);
    surface_m = position_m;
    surface_normal = normal;
    surface_tangent = tangent.xyz;
    handedness = tangent.w;
    surface_uv = vec2(uv.x, 1.0 - uv.y); // the textures' first row is their top
}
