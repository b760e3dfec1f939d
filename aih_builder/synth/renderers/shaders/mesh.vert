#version 410 core
// Camera frame throughout: x right, y down, z forward, metres. P maps it to clip space, image row 0 at the bottom.

layout(location = 0) in vec3 position_m;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec4 tangent;
layout(location = 3) in vec2 uv;
layout(location = 4) in vec2 gain_open; // of folds; to the surroundings, alone
layout(location = 5) in vec4 lit_open_lit; // by the key, alone; then both beside the other hand

uniform mat4 P;

out vec3 surface_m;
out vec3 surface_normal;
out vec3 surface_tangent;
flat out float handedness;
out vec2 surface_uv;
out float fold_gain;
out vec4 openness;

invariant gl_Position; // passes with different fragment shaders cover the same samples

void main() {
    gl_Position = P * vec4(position_m, 1.0);
    surface_m = position_m;
    surface_normal = normal;
    surface_tangent = tangent.xyz;
    handedness = tangent.w;
    fold_gain = gain_open.x;
    openness = vec4(gain_open.y, lit_open_lit.xyz);
    surface_uv = vec2(uv.x, 1.0 - uv.y); // the textures' first row is their top
}
