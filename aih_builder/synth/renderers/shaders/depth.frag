#version 410 core
// Depth alone: which samples are covered, and how far away they are.

void main() {}
