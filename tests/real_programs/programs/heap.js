const held = [];
for (let i = 0; i < 3e6; i++) held.push({ i, text: 'x' + i });
let sum = 0;
for (const one of held) sum += one.i;
if (sum !== 4499998500000) process.exit(1);
const { Worker, isMainThread, parentPort } = require('worker_threads');
Promise.all([1, 2, 3, 4].map(() => new Promise((resolve) => {
  new Worker('require("worker_threads").parentPort.postMessage(Array.from({length: 1e6}, (_, i) => i).length)',
    { eval: true }).on('message', resolve);
}))).then((all) => process.exit(all.every((n) => n === 1e6) ? 0 : 2));
