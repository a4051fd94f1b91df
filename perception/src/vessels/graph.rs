//! Lines of voxels as a graph: nodes where lines end or meet, and the voxels between them.
//!
//! **Shape:** voxel indices of the picture; lengths in mm from centre to centre. **Allocation:** the graph. **Not
//! protected against:** two vessels that touch, which meet here.

use super::picture::Picture;
use super::thin::Mask;
use std::collections::{BTreeMap, BTreeSet};

/// A way between two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it starts and ends, the same for a closed ring.
    pub nodes: [usize; 2],
    /// Its voxels with both nodes'.
    pub voxels: Vec<usize>,
}

/// Nodes are numbered; those that no line reaches do not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Graph {
    /// In no order that matters.
    pub lines: Vec<Line>,
    nodes: usize,
}

impl Graph {
    /// Of a thinned mask.
    pub fn of(picture: &Picture, mask: &Mask) -> Self {
        let on = |index: usize| mask.around(index).filter(|n| mask.on[*n] == 1);
        let voxels: Vec<usize> = (0..mask.on.len()).filter(|i| mask.on[*i] == 1).collect();
        let knots: Vec<usize> = voxels.iter().copied().filter(|i| on(*i).count() != 2).collect();
        let (mut node_of, middles) = clusters(picture, mask, &knots);
        let mut graph = Self { lines: Vec::new(), nodes: middles.len() };
        let (mut passed, mut touching) = (BTreeSet::new(), BTreeSet::new());
        for knot in &knots {
            for first in on(*knot) {
                let from = node_of[knot];
                let direct = node_of.get(&first).copied();
                if direct.is_some_and(|to| to <= from || !touching.insert([from, to])) || passed.contains(&first) {
                    continue;
                }
                let way = walk(*knot, first, &node_of, &mut passed, on);
                let Some(to) = way.last().and_then(|last| node_of.get(last)).copied() else { continue };
                graph.push(&middles, [from, to], &way);
            }
        }
        // What is left are closed rings.
        for start in voxels {
            if !node_of.contains_key(&start) && !passed.contains(&start) {
                node_of.insert(start, graph.nodes);
                graph.nodes += 1;
                let Some(first) = on(start).next() else { continue };
                let way = walk(start, first, &node_of, &mut passed, on);
                if way.last() == Some(&start) {
                    graph.lines.push(Line { nodes: [graph.nodes - 1; 2], voxels: [&[start], &way[..]].concat() });
                }
            }
        }
        graph
    }

    /// Adds a line unless it leaves a cluster of knots only to come back.
    fn push(&mut self, middles: &[usize], nodes: [usize; 2], way: &[usize]) {
        let inner = &way[..way.len() - 1];
        if nodes[0] != nodes[1] || inner.len() > 2 {
            let voxels = [&[middles[nodes[0]]], inner, &[middles[nodes[1]]]].concat();
            self.lines.push(Line { nodes, voxels });
        }
    }

    /// How many ends of lines each node holds.
    pub fn degrees(&self) -> Vec<usize> {
        let mut of = vec![0; self.nodes];
        self.lines.iter().flat_map(|l| l.nodes).for_each(|n| of[n] += 1);
        of
    }

    /// Takes away twigs, lines with a free end at one side only, that are shorter than `least_mm` of the voxel they leave
    /// from; of several at a node the shortest first, for what is left may be none any more.
    pub fn prune(&mut self, picture: &Picture, least_mm: impl Fn(usize) -> f64) {
        self.join();
        loop {
            let degrees = self.degrees();
            let mut shortest: BTreeMap<usize, (usize, f64)> = BTreeMap::new();
            for (n, line) in self.lines.iter().enumerate() {
                let [a, b] = line.nodes.map(|node| degrees[node]);
                let (root, voxel) = if a == 1 { (1, line.voxels[line.voxels.len() - 1]) } else { (0, line.voxels[0]) };
                let length = line.length_mm(picture);
                if a.min(b) == 1 && a.max(b) > 2 && length < least_mm(voxel) {
                    let best = shortest.entry(line.nodes[root]).or_insert((n, length));
                    *best = if length < best.1 { (n, length) } else { *best };
                }
            }
            if shortest.is_empty() {
                return;
            }
            let mut kept = vec![true; self.lines.len()];
            shortest.values().for_each(|(n, _)| kept[*n] = false);
            keep(&mut self.lines, &kept);
            self.join();
        }
    }

    /// Makes one line of two that meet where no third does.
    fn join(&mut self) {
        loop {
            let mut at: Vec<Vec<usize>> = vec![Vec::new(); self.nodes];
            for (n, line) in self.lines.iter().enumerate() {
                line.nodes.into_iter().for_each(|node| at[node].push(n));
            }
            let (mut kept, mut changed) = (vec![true; self.lines.len()], vec![false; self.lines.len()]);
            for (node, lines) in at.iter().enumerate() {
                let &[a, b] = &lines[..] else { continue };
                // A ring's only node stays; a line that was changed waits for the next round.
                if a == b || changed[a] || changed[b] {
                    continue;
                }
                let (mut first, second) = (self.lines[a].clone().from(node), self.lines[b].clone().from(node));
                first.voxels.reverse();
                first.voxels.extend(&second.voxels[1..]);
                self.lines[a] = Line { nodes: [first.nodes[1], second.nodes[1]], voxels: first.voxels };
                (changed[a], changed[b], kept[b]) = (true, true, false);
            }
            if !kept.contains(&false) {
                return;
            }
            keep(&mut self.lines, &kept);
        }
    }

    /// Keeps lines that hang together with others, and are together at least that long, mm.
    pub fn keep_long(&mut self, picture: &Picture, least_mm: f64) {
        let lines: Vec<([usize; 2], f64)> = self.lines.iter().map(|l| (l.nodes, l.length_mm(picture))).collect();
        keep(&mut self.lines, &long(self.nodes, &lines, least_mm));
    }
}

/// Of each line between two nodes, of a length, whether it hangs together with lines that are long enough in all.
pub(super) fn long(nodes: usize, lines: &[([usize; 2], f64)], least: f64) -> Vec<bool> {
    let mut above: Vec<usize> = (0..nodes).collect();
    let root = |above: &[usize], mut node: usize| {
        while above[node] != node {
            node = above[node];
        }
        node
    };
    for ([a, b], _) in lines {
        let [a, b] = [root(&above, *a), root(&above, *b)];
        above[a.max(b)] = a.min(b);
    }
    let mut length = vec![0.0; nodes];
    lines.iter().for_each(|(ends, of)| length[root(&above, ends[0])] += of);
    lines.iter().map(|(ends, _)| length[root(&above, ends[0])] >= least).collect()
}

fn keep<T>(of: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    of.retain(|_| kept.next() == Some(&true));
}

impl Line {
    /// From centre to centre.
    pub fn length_mm(&self, picture: &Picture) -> f64 {
        let centre = |i: usize| picture.centre(picture.voxel(i));
        self.voxels.windows(2).map(|w| nalgebra::distance(&centre(w[0]), &centre(w[1]))).sum()
    }

    /// The same, starting at one of its nodes.
    fn from(mut self, node: usize) -> Self {
        if self.nodes[0] != node {
            self.nodes.reverse();
            self.voxels.reverse();
        }
        self
    }
}

/// Numbers knots that touch alike: node of each, and the voxel of each node next to the middle of its knots.
fn clusters(picture: &Picture, mask: &Mask, knots: &[usize]) -> (BTreeMap<usize, usize>, Vec<usize>) {
    let mut node_of: BTreeMap<usize, usize> = BTreeMap::new();
    let is_knot: BTreeSet<usize> = knots.iter().copied().collect();
    let mut middles = Vec::new();
    for knot in knots {
        if node_of.contains_key(knot) {
            continue;
        }
        let mut members = vec![*knot];
        node_of.insert(*knot, middles.len());
        let mut looked = 0;
        while looked < members.len() {
            for next in mask.around(members[looked]).filter(|n| is_knot.contains(n)) {
                if node_of.insert(next, middles.len()).is_none() {
                    members.push(next);
                }
            }
            looked += 1;
        }
        let at = |i: &usize| picture.centre(picture.voxel(*i)).coords;
        let middle = members.iter().map(at).sum::<nalgebra::Vector3<f64>>() / members.len() as f64;
        let off = |i: &usize| (at(i) - middle).norm();
        middles.push(members.iter().copied().min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(*knot));
    }
    (node_of, middles)
}

/// From one voxel over the next to a node, which is the last; shorter where it ends nowhere.
fn walk<I: Iterator<Item = usize>>(
    from: usize,
    first: usize,
    node_of: &BTreeMap<usize, usize>,
    passed: &mut BTreeSet<usize>,
    on: impl Fn(usize) -> I,
) -> Vec<usize> {
    let (mut before, mut here) = (from, first);
    let mut way = vec![first];
    while !node_of.contains_key(&here) {
        passed.insert(here);
        let Some(next) = on(here).find(|n| *n != before && !passed.contains(n)) else { break };
        (before, here) = (here, next);
        way.push(here);
    }
    way
}

#[cfg(test)]
mod tests {
    use super::super::phantom::{Phantom, affine};
    use super::super::thin::mask;
    use super::*;

    fn drawn(voxels: &[[usize; 3]]) -> (Picture, Graph) {
        let picture = Picture::new(&Phantom::new([30, 20, 12], affine([0.5; 3])).volume(), None).expect("sound");
        let on: BTreeSet<usize> = voxels.iter().map(|v| picture.index(*v)).collect();
        let mask = mask(&picture, |i| on.contains(&i), |i| on.contains(&i));
        let graph = Graph::of(&picture, &mask);
        (picture, graph)
    }

    #[test]
    fn a_fork_with_a_twig_loses_the_twig_and_keeps_the_fork() {
        let bar = (2..27).map(|i| [i, 10, 6]);
        let arm = (11..17).map(|j| [14, j, 6]);
        let twig = (7..10).map(|k| [8, 10, k]);
        let (picture, mut graph) = drawn(&bar.chain(arm).chain(twig).collect::<Vec<_>>());
        let ends = |graph: &Graph, of: usize| graph.degrees().iter().filter(|d| **d == of).count();
        assert_eq!((graph.lines.len(), ends(&graph, 1), ends(&graph, 3)), (5, 4, 2));
        graph.prune(&picture, |_| 2.0);
        assert_eq!((graph.lines.len(), ends(&graph, 1), ends(&graph, 3)), (3, 3, 1));
        let length: f64 = graph.lines.iter().map(|l| l.length_mm(&picture)).sum();
        assert!((length - 0.5 * (24.0 + 6.0)).abs() < 1.0, "{length} mm");
        graph.keep_long(&picture, 20.0);
        assert!(graph.lines.is_empty(), "together they are 15 mm long");
    }

    #[test]
    fn a_ring_is_a_line_from_a_node_to_itself() {
        let sides = (0..9).flat_map(|n| [[6 + n, 5, 6], [6 + n, 15, 6], [5, 6 + n, 6], [15, 6 + n, 6]]);
        let (picture, mut graph) = drawn(&sides.collect::<Vec<_>>());
        graph.prune(&picture, |_| 2.0);
        assert_eq!(graph.lines.len(), 1);
        let line = &graph.lines[0];
        assert_eq!((line.nodes[0], line.voxels[0]), (line.nodes[1], line.voxels[line.voxels.len() - 1]));
        assert_eq!(line.voxels.len(), 4 * 9 + 1);
    }
}
