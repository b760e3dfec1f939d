#version 410 core
// Shading as renderers/base.py defines it. Words in capitals are filled in from there before this is compiled.

const int COLOUR = 0, NORMAL = 1;

in vec3 surface_m;
in vec3 surface_normal;
in vec3 surface_tangent;
flat in float handedness;
in vec2 surface_uv;

uniform sampler2D albedo_roughness; // linear colour, roughness
uniform sampler2D normal_xy; // in [-1, 1]
uniform float level_of_detail;
uniform int wanted;

uniform int n_lights;
uniform vec3 light_directions[LIGHT_LIMIT];
uniform vec3 light_radiance[LIGHT_LIMIT];
uniform vec3 sky;
uniform vec3 ground;
uniform vec3 up;

out vec4 result;

vec3 shaded_normal() {
    vec3 n = surface_normal / max(length(surface_normal), 1e-9);
    vec3 t = surface_tangent - dot(n, surface_tangent) * n;
    t /= max(length(t), 1e-9);
    vec3 b = cross(n, t) * handedness;
    vec2 m = textureLod(normal_xy, surface_uv, level_of_detail).xy;
    float mz = sqrt(max(1.0 - dot(m, m), 0.01));
    return normalize(n * mz + t * m.x + b * m.y);
}

vec3 outgoing(vec3 n, vec3 view, vec4 texel) {
    float roughness = max(texel.a, 0.05);
    float a2 = roughness * roughness * roughness * roughness;
    float k = (roughness + 1.0) * (roughness + 1.0) / 8.0;
    float nv = max(abs(dot(n, view)), 1e-3);
    vec3 colour = texel.rgb * mix(ground, sky, 0.5 + 0.5 * dot(n, up));
    for (int i = 0; i < n_lights; ++i) {
        vec3 l = light_directions[i];
        float nl = dot(n, l);
        float specular = 0.0;
        if (nl > 0.0) {
            vec3 h = l + view;
            h /= max(length(h), 1e-9);
            float nh = max(dot(n, h), 0.0);
            float p = 1.0 - max(dot(view, h), 0.0);
            float d = nh * nh * (a2 - 1.0) + 1.0;
            float fresnel = FRESNEL_F0 + (1.0 - FRESNEL_F0) * (p * p * p * p * p);
            specular = fresnel * a2 / (d * d) / (4.0 * (nv * (1.0 - k) + k) * (nl * (1.0 - k) + k)) * nl;
        }
        vec3 diffuse = max(vec3(0.0), (nl + WRAP_RGB) / (1.0 + WRAP_RGB));
        colour += light_radiance[i] * (texel.rgb * diffuse + specular);
    }
    return colour;
}

vec3 displayed(vec3 linear) {
    vec3 c = max(linear, vec3(0.0));
    vec3 bent = SHOULDER_KNEE + (1.0 - SHOULDER_KNEE) * (1.0 - exp(-(c - SHOULDER_KNEE) / (1.0 - SHOULDER_KNEE)));
    return pow(mix(c, bent, greaterThan(c, vec3(SHOULDER_KNEE))), vec3(1.0 / GAMMA_SHOWN));
}

void main() {
    vec3 n = shaded_normal();
    if (wanted == NORMAL) {
        result = vec4((floor(n * 127.0 + 0.5) + 128.0) / 255.0, 1.0);
    } else {
        vec4 texel = textureLod(albedo_roughness, surface_uv, level_of_detail);
        result = vec4(displayed(outgoing(n, normalize(-surface_m), texel)), 1.0);
    }
}
