#version 410 core
// Shading as renderers/base.py defines it. Words in capitals are filled in from there before this is compiled.

const int COLOUR = 0, NORMAL = 1, BESIDE = 2;

in vec3 surface_m;
in vec3 surface_normal;
in vec3 surface_tangent;
flat in float handedness;
in vec2 surface_uv;
in float fold_gain;
in vec4 openness; // to the surroundings and to the key: alone, then beside the other hand

uniform sampler2D albedo_roughness; // linear colour, roughness
uniform sampler2D relief; // the normal's x and y, in [-1, 1]; crease
uniform float level_of_detail;
uniform int wanted;

uniform int n_lights;
uniform vec3 light_directions[LIGHT_LIMIT];
uniform vec3 light_radiance[LIGHT_LIMIT];
uniform vec3 surroundings[9];

out vec4 result;

vec3 shaded_normal(vec2 m) {
    vec3 n = surface_normal / max(length(surface_normal), 1e-9);
    vec3 t = surface_tangent - dot(n, surface_tangent) * n;
    t /= max(length(t), 1e-9);
    vec3 b = cross(n, t) * handedness;
    float mz = sqrt(max(1.0 - dot(m, m), 0.01));
    return normalize(n * mz + t * m.x + b * m.y);
}

vec3 soft(float share, vec3 weight) {
    return share * (1.0 + weight * (1.0 - share));
}

vec3 ambient(vec3 n) {
    vec3 sum = surroundings[0] + surroundings[1] * n.x + surroundings[2] * n.y + surroundings[3] * n.z
        + surroundings[4] * (n.x * n.y) + surroundings[5] * (n.y * n.z) + surroundings[6] * (3.0 * n.z * n.z - 1.0)
        + surroundings[7] * (n.x * n.z) + surroundings[8] * (n.x * n.x - n.y * n.y);
    return max(sum, vec3(0.0));
}

vec3 outgoing(vec3 n, vec3 view, vec3 albedo, float rough, float open, float lit) {
    float roughness = max(rough, 0.05);
    float a2 = roughness * roughness * roughness * roughness;
    float k = (roughness + 1.0) * (roughness + 1.0) / 8.0;
    float nv = max(abs(dot(n, view)), 1e-3);
    vec3 colour = albedo * ambient(n) * soft(open, albedo);
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
            float fresnel = FRESNEL_F0 + max(1.0 - roughness - FRESNEL_F0, 0.0) * (p * p * p * p * p);
            specular = fresnel * a2 / (d * d) / (4.0 * (nv * (1.0 - k) + k) * (nl * (1.0 - k) + k)) * nl;
        }
        vec3 diffuse = max(vec3(0.0), (nl + WRAP_RGB) / (1.0 + WRAP_RGB));
        float share = i == 0 ? lit : open;
        vec3 seen = i == 0 ? soft(lit, BLEED_RGB) : soft(open, albedo);
        colour += light_radiance[i] * (albedo * diffuse * seen + specular * share);
    }
    return colour;
}

vec3 displayed(vec3 linear) {
    vec3 c = max(linear, vec3(0.0));
    vec3 bent = SHOULDER_KNEE + (1.0 - SHOULDER_KNEE) * (1.0 - exp(-(c - SHOULDER_KNEE) / (1.0 - SHOULDER_KNEE)));
    return pow(mix(c, bent, greaterThan(c, vec3(SHOULDER_KNEE))), vec3(1.0 / GAMMA_SHOWN));
}

void main() {
    vec3 folded = textureLod(relief, surface_uv, level_of_detail).xyz;
    float deeper = (fold_gain - 1.0) * folded.z;
    vec3 n = shaded_normal(folded.xy * (1.0 + deeper));
    if (wanted == NORMAL) {
        result = vec4((floor(n * 127.0 + 0.5) + 128.0) / 255.0, 1.0);
    } else {
        vec4 texel = textureLod(albedo_roughness, surface_uv, level_of_detail);
        vec3 albedo = texel.rgb / (1.0 + FOLD_TINT_RGB * deeper);
        vec2 share = wanted == BESIDE ? openness.zw : openness.xy;
        result = vec4(displayed(outgoing(n, normalize(-surface_m), albedo, texel.a, share.x, share.y)), 1.0);
    }
}
