// Reads Resource Graph queries with Kusto's own parser and a schema of the tables: a wrong word, column, function or type
// is said with its place, and ends with code 1.
//
//   node .ci/kql.js <directory of node_modules> <file.kql>...
//
// Fields below `properties` are dynamic: Kusto does not know their names, and neither does this.
"use strict";
const fs = require("fs");
const path = require("path");

const [modules, ...files] = process.argv.slice(2);
const kusto = path.join(path.resolve(modules), "@kusto", "language-service-next");
require(path.join(kusto, "bridge.min.js"));
require(path.join(kusto, "Kusto.Language.Bridge.min.js"));
const { KustoCode, GlobalState, Symbols } = globalThis.Kusto.Language;

// The columns that every table of Resource Graph has (documentation, "query language": properties of the tables).
const TEXT = ["id", "name", "type", "tenantId", "kind", "location", "resourceGroup", "subscriptionId", "managedBy"];
const DYNAMIC = ["sku", "plan", "properties", "tags", "identity", "zones", "extendedLocation"];
const TABLES = ["resources", "resourcecontainers", "recoveryservicesresources"];

const column = (type) => (name) => new Symbols.ColumnSymbol.ctor(name, type);
const columns = [...TEXT.map(column(Symbols.ScalarTypes.String)), ...DYNAMIC.map(column(Symbols.ScalarTypes.Dynamic))];
const tables = TABLES.map((name) => new Symbols.TableSymbol.$ctor4(name, columns));
const database = new Symbols.DatabaseSymbol.ctor("graph", tables);
const globals = GlobalState.Default.WithDatabase(database);

// What azmend fills in before it sends a query, with an example of it. A longer word that contains one is not touched.
const FILLED = [
    [/\bDAYSd\b/g, "30d"],
    [/\bNAMES\b/g, "'vm-01', 'vm-02'"],
];

let failed = 0;
for (const file of files) {
    let text = fs.readFileSync(file, "utf8");
    for (const [word, example] of FILLED) text = text.replace(word, example);
    const found = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
    for (let i = 0; i < found.Count; i++) {
        const one = found.getItem(i);
        // Hints about speed or style are not errors.
        if (one.Severity !== "Error") continue;
        const before = text.slice(0, one.Start).split("\n");
        console.error(`${file}:${before.length}:${before[before.length - 1].length + 1}: ${one.Code} ${one.Message}`);
        failed += 1;
    }
}
console.log(`${files.length} queries, ${failed} errors`);
process.exitCode = failed === 0 && files.length > 0 ? 0 : 1;
