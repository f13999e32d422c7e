// SPDX-License-Identifier: Apache-2.0
// A JavaScript engine under load: what its compilers make must say what its interpreter says (--jitless).
function integers(n) {
	let a = 1, b = 0;
	for (let i = 0; i < n; i++) { a = (Math.imul(a, 1664525) + 1013904223) | 0; b ^= a >>> (i & 15); }
	return b;
}
function floats(n) {
	let x = 0.5, s = 0;
	for (let i = 0; i < n; i++) { x = 3.9 * x * (1 - x); s += Math.sqrt(x) * Math.sin(x) + Math.fround(x); }
	return s;
}
class Shape { area() { return 0; } }
class Square extends Shape { constructor(a) { super(); this.a = a; } area() { return this.a * this.a; } }
class Circle extends Shape { constructor(r) { super(); this.r = r; } area() { return 3 * this.r * this.r; } }
function objects(n) {
	const shapes = [];
	for (let i = 0; i < n; i++) shapes.push(i % 3 ? new Square(i % 17) : new Circle(i % 13));
	return shapes.map(s => s.area()).reduce((a, b) => a + b, 0);
}
function strings(n) {
	const seen = new Map();
	for (let i = 0; i < n; i++) { const k = `k${i * 7919 % 1009}`; seen.set(k, (seen.get(k) || 0) + 1); }
	return [...seen].sort((p, q) => p[0] < q[0] ? -1 : 1).map(p => p.join(":")).join(",").replace(/k1(\d)/g, "<$1>").length;
}
function big(n) { let a = 1n; for (let i = 1n; i <= BigInt(n); i++) a *= i; return (a % 1000000007n + (a >> 900n) % 97n).toString(); }
function typed(n) {
	const f = new Float64Array(n), u = new Uint8Array(f.buffer);
	for (let i = 0; i < n; i++) f[i] = i / 3;
	return u.reduce((a, b) => (a * 31 + b) | 0, 0);
}
function odd(n) { // deoptimizes now and then
	let s = 0;
	for (let i = 0; i < n; i++) { const v = i % 5000 === 4999 ? { valueOf() { return 2; } } : i; s += v % 7; }
	return s;
}
for (let round = 0; round < 3; round++)
	console.log(integers(100000), floats(30000), objects(20000), strings(20000), big(400), typed(20000), odd(30000));
