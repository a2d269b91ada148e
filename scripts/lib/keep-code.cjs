// Loaded before dist/start.cjs by the build: writes what V8 has compiled of the program by the end of the process to the
// file KEEP_CODE. Ends with 70 where V8 refuses the code that was there already.
const { writeFileSync } = require('node:fs');
const v8 = require('node:v8');
const vm = require('node:vm');

// Compiled code is for the flags it was made with, and an agent changes them after its start.
v8.setFlagsFromString = () => {};
vm.Script = class extends vm.Script {
  constructor(...args) {
    super(...args);
    process.on('exit', () => {
      if (this.cachedDataRejected) process.exitCode = 70;
      else writeFileSync(process.env.KEEP_CODE, this.createCachedData());
    });
  }
};
