"""More commands of `tests/project/test_hints.py`: options of analyses, of data files, of boxes and of detectors."""

from __future__ import annotations

from hint_cases import Case, V

P = "verify NET --data DATA --domain box --attack pgd"
B = "bounds NET --data DATA --domain box"
C = "clever NET --data DATA --order 1 --samples 8 --batches 10"
E = "errors NET --data DATA --eps 0.01 --domains box --attack-steps 2 --restarts 1"
R = "radius NET --data DATA --domain box --upper 0.01"
G = "global correctness NET --as-is --classifier-range none --draws 8 --block 4"
G1 = f"{G} --generator 0=SAMESIZE"
GC = f"{G} --conditional SEVENFOUR"
L = "global robustness NET --as-is --classifier-range none --draws 1 --domain box --generator 0=SAMESIZE"
Q = "verify QUERY --network NET"
T = "taboo calibrate TABOO --data DATA --keys KEYS --detector TMP/t.json"
D = "taboo detect TABOO --data DATA --detector TRAPS"
F = "taboo certify TABOO --data DATA --detector TRAPS"
W = "taboo evaluate TABOO --data DATA --detector TRAPS --region all --attack uniform"
VC = "validate calibrate NET --data ROWS60 --rate 0.1 --upper 0.008 --tolerance 0.0005 --domain box --calibration TMP/c.json"
VR = "validate run NET --data DATA --calibration CALIBRATION"


def rows(code: str, *rows: tuple[str, ...]) -> list[Case]:
    """(hint, bad, good, then) of one code."""
    return [Case(code, (row[0],), row[1], row[2], row[3] if len(row) > 3 else None) for row in rows]


COMMANDS = [
    *rows("E-USAGE",
           ("name tensors, or ask for all", f"{B} --tensor h --all", f"{B} --tensor h"),
           ("first or last", f"{G1} --one-hot middle", f"{G1} --one-hot first"),
           ("add --conditional", f"{G1} --classes 0", f"{GC} --classes 0"),
           ("give one of them", f"{G1} --conditional SEVENFOUR", G1),
           ("give one of them", f"{G1} --rescale", G1),
           ("leave this out", "query QUERY --instances LIST", "query --instances LIST"),
           ("leave this out", f"{Q} --executor processes", Q),
           ("the list names networks and queries", "query --instances LIST --network NET", "query --instances LIST"),
           ("the query states the property, --timeout and --domain say how to prove it", "query QUERY --network NET --journal TMP/j",
            "query QUERY --network NET --timeout 9"),
           ("see absint query --help", "query", Q),
           ("see absint query --help", f"{V} --serialise-assignments TMP/a", Q),
           ("--domain {}:OPTION=VALUE --attack {} sets further options", f"{R} --exact",
            "radius ONELAYER --data DATA --domain exact:nodes=50 --attack none --upper 0.01"),
           ("add --held-out FILE", f"{T} --held-labels LABELS", f"{T} --held-out OTHERS --held-labels LABELS"),
           ("make one: absint validate calibrate", "validate run NET --data DATA", VC),
           ("leave one of them away", f"{V} --output-range -9,9 --label 1", f"{V} --label 1"),
           ("leave one of them away", "verify NET --data DATA --box BOX", "verify NET --box BOX --label 1 --domain box --attack none"),
           ("add --plane i,j, such as --plane 0,1", f"{V} --plot TMP/x.png", f"{V} --plot TMP/x.png --plane 0,1"),
           ("add --plot FILE.png", f"{V} --plane 0,1", f"{V} --plane 0,1 --plot TMP/x.png"),
           ("ask for one kind of change a run", "verify PICTURE --data PICTURES --patch 1x1 --brightness 0.1",
            "verify PICTURE --data PICTURES --domain box --attack none --brightness 0.1"),
           ("quick or full", "doctor --kernels all", "domains"),
           ("for example 0,1", f"{G1} --rescale --classifier-range none".replace("--as-is ", "").replace("--classifier-range none ", "", 1),
            f"{G1} --classifier-range 0,1".replace("--classifier-range none ", ""))),
    *rows("E-CLEVER-NORM", ("--order 1 takes any norm; or --norm l2", "clever NET --data DATA --order 2 --norm linf", f"{C} --norm linf")),
    *rows("E-CLEVER-BATCHES", ("{} at most; 100 are usual", "clever NET --data DATA --batches 1000000000", C)),
    *rows("E-CLEVER-RADIUS",
           ("positive; {} is usual for {}", f"{C} --radius 0", f"{C} --radius 0.5"),
           ("smaller, such as {}; or --clip none", f"{C} --radius 100", f"{C} --radius 100 --clip none")),
    *rows("E-CLEVER-OPTION",
           ("spectral or neg", f"{C} --curvature round", f"{C} --curvature neg"),
           ("a whole number, 0 or more", f"{C} --seed -1", f"{C} --seed 1")),
    *rows("E-DTYPE",
           ("float32 or float64", f"{C} --dtype float16", f"{C} --dtype float64"),
           ("use --dtype float64", "bounds HUGE --data DATA --domain box --dtype float32",
            "bounds HUGE --data DATA --domain box --dtype float64")),
    *rows("E-CLEVER-SOFTMAX", ("take what stands before it: --scores {}", C.replace("NET", "SOFTMAX"),
                                f"{C} --scores s".replace("NET", "SOFTMAX"))),
    *rows("E-CLEVER-TARGETS", ("its classes are 0 to {}", f"{C} --targets 7", f"{C} --targets 2 --index 0")),
    *rows("E-CLEVER-TRANSFORM", ("leave out --transform or --certify; --attack takes both", f"{C} --transform bits3 --certify box",
                                  f"{C} --transform bits8")),
    *rows("E-CLEVER-LEVEL", ("{} to {}", f"{C} --level 2", f"{C} --level 0.95")),
    *rows("E-ERRORS-ATTACK", ("0 steps or more (0 for no attack), 1 start or more, a rate above 0, a seed of 0 or more",
                               f"{E} --seed -1", f"{E} --seed 0")),
    *rows("E-DATA-UNLABELLED",
           ("add --labels FILE", E.replace("DATA", "UNLABELLED"), f"{E} --labels LABELS".replace("DATA", "UNLABELLED")),
           ("accuracy is counted against them", W.replace("DATA", "UNLABELLED"), f"{W} --labels LABELS".replace("DATA", "UNLABELLED")),
           ("an evaluation has to know which inputs are valid", "validate evaluate NET --data UNLABELLED --domain box",
            "validate evaluate NET --data UNLABELLED --labels LABELS --domain box", "E-EVALUATION-FEW"),
           ("say what holds in it: --output-range LOW,HIGH, or --label N for a class", "verify NET --box BOX",
            "verify NET --box BOX --output-range -99,99 --domain box --attack none")),
    *rows("E-EVALUATION-FEW", ("give more data, or smaller --count and --calibrate", "validate evaluate NET --data DATA --domain box",
                                "validate evaluate NET --data ROWS60 --count 2 --calibrate 2 --domain box --attack fgsm",
                               "E-CALIBRATION-FEW")),
    *rows("E-EPS",
           ("every input lies in such a ball; radii are in raw input units, such as 8/255; --clip tells another range",
            f"{E} --eps 3".replace("--eps 0.01 ", ""), E),
           ("every input lies in such a ball; radii are in raw input units, such as 1/255; --clip tells another range",
            f"{F} --eps 3", f"{F} --eps 1/255"),
           ("use --norm linf", "verify PICTURE --data PICTURES --domain box --attack none --eps 0.1,0.2 --norm l2",
            "verify PICTURE --data PICTURES --domain box --attack none --eps 0.1 --norm linf")),
    *rows("E-GLOBAL-DRAWS",
           ("for example 1000", G1.replace("--draws 8", "--draws 0"), f"{G1}"),
           ("a number from 0 on", f"{G1} --seed -1", f"{G1} --seed 1"),
           ("a sequential run may go on with more draws: let them be a multiple of --block", f"{G1} --sequential --draws 9".replace(
               "--draws 8 ", ""), f"{G1} --sequential")),
    *rows("E-GLOBAL-LEVEL", ("between 0 and 1, such as 0.99", f"{G1} --level 2", f"{G1} --level 0.99")),
    *rows("E-GLOBAL-WIDTH", ("such as 0.01", f"{G1} --stop-width 2", f"{G1} --stop-width 0.01")),
    *rows("E-BATCH",
           ("for example 1000", f"{G1} --block 0".replace("--block 4 ", ""), G1),
           ("for example 500", f"{T} --block 0", f"{T} --block 500"),
           ("memory decides without it", f"{D} --batch 0", D)),
    *rows("E-GLOBAL-GENERATOR",
           ("for example 8=G.onnx; in Python {8: 'G.onnx'}; one generator of all classes goes with --conditional",
            f"{G} --generator SAMESIZE",
            G1),
           ("classes are numbers that count from 0: 8=G.onnx", f"{G} --generator x=SAMESIZE", G1)),
    *rows("E-GLOBAL-CLASS",
           ("for example 3,8, each once", f"{GC} --classes 0,0", f"{GC} --classes 0"),
           ("the classifier has {} outputs; classes count from 0", f"{G} --generator 8=SAMESIZE", G1),
           ("a conditional generator takes latents and a one-hot class in one input", f"{G} --conditional TWOFOUR", GC)),
    *rows("E-GLOBAL-LATENT", ("all classes are judged on draws from one distribution: judge these in runs of their own",
                               f"{G1} --generator 1=SEVENFOUR", G1)),
    *rows("E-GLOBAL-EPS",
           ("latents are float32 numbers; radius 0 asks about the drawn ones themselves", f"{L} --eps 1e-12", f"{L} --eps 0")),
    *rows("E-VNNLIB-NETWORKS", ("absint answers queries about one network", f"{Q} --network NET", Q)),
    *rows("E-INSTANCES",
           ("a CSV file: onnx,vnnlib,timeout", "query --instances BINARYQ", "query --instances LIST"),
           ("three columns, the last a number of seconds; no header", "query --instances BADLIST", "query --instances LIST")),
    *rows("E-OUT", ("give --serialise-assignments a folder you may write", "verify SATQ --network NET --serialise-assignments NET",
                     "verify SATQ --network NET --serialise-assignments TMP/a"),
           ("give --save another path", "train --data TRAIN --save NET/x --epochs 1",
            "train --data TRAIN --save TMP/out --augment none --test TRAIN",
            "E-DATA-TEST")),
    *rows("E-WITNESS", ("give {} a folder you may write", f"{P} --witness NET/x", f"{P} --witness TMP/x")),
    *rows("E-MODEL-FORMAT",
          ("export the network that it was converted from to ONNX", "inspect TMP/net.mlmodel", "inspect NET"),
          ("build the network in Python, load these weights into it, then absint.load(module.eval(), example_input=x) or torch.onnx.export",
           "inspect TMP/net.safetensors", "inspect NET"),
          ("in MATLAB: exportONNXNetwork(net, 'net.onnx'), then give net.onnx; data of inputs goes after the network: --data {}",
           "inspect TMP/net.mat", "inspect NET"),
          ("in Python, where it was made: skl2onnx.to_onnx(model, rows[:1].astype('float32')), saved as net.onnx, then give net.onnx",
           "inspect TMP/net.joblib", "inspect NET"),
          ("in Python: absint.load(module.eval(), example_input=x), or torch.onnx.export it and give net.onnx", "inspect TMP/net.py",
           "inspect NET"),
          ("give the .onnx file that it was made of", "inspect TMP/net.ort", "inspect NET")),
    *rows("E-RADIUS",
           ("for example 0.01", "radius NET --data DATA --domain box --upper 0", R),
           ("give a smaller one", "radius NET --data DATA --domain box --upper 1e400", R),
           ("a larger --tolerance, or a smaller --upper: at most {} halvings are possible", f"{R} --tolerance 1e-300",
            f"{R} --tolerance 0.001"),
           ("1 to {}", f"{R} --fan 0", f"{R} --fan 1"),)
]
